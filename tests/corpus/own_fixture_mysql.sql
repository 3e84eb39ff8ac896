DROP DATABASE IF EXISTS atk; CREATE DATABASE atk CHARACTER SET utf8mb4; USE atk;
SET GLOBAL max_connections=300; SET GLOBAL general_log=0; SET GLOBAL general_log_file='vm.log'; SET cte_max_recursion_depth=4000;
CREATE TABLE users(id int PRIMARY KEY, name varchar(100), email varchar(100), delete_flag int DEFAULT 0, status int DEFAULT 0, meta json, tags varchar(100));
INSERT INTO users VALUES (1,'alice','a@x',0,0,'{"plan":"pro"}','vip'),(2,'bob',NULL,0,0,'{"plan":"free"}',''),(3,'carol','c@x',1,0,'{}',NULL);
CREATE TABLE orders(id int PRIMARY KEY AUTO_INCREMENT, user_id int, amount decimal(10,2), status varchar(20) DEFAULT 'new', note text);
INSERT INTO orders(user_id,amount,status) VALUES (1,10,'new'),(1,20,'paid'),(2,5,'new');
CREATE TABLE secrets(id int, secret varchar(200)); INSERT INTO secrets VALUES (1,'TOPSECRET');
CREATE TABLE tricky(id int, delete_flag int, created_at text, updated_at text, `update` text, `delete` text, `drop` text, grant_total int, call_count int, lock_version int, into_account text, load_avg float, sleep_ms int, benchmark_id int, comment text, status text, begin_date date, end_date date);
INSERT INTO tricky(id) VALUES (1); CREATE TABLE `drops`(id int); CREATE TABLE `updates`(id int); INSERT INTO `drops` VALUES(1); INSERT INTO `updates` VALUES(1);
CREATE TABLE wide AS WITH RECURSIVE s(id) AS (SELECT 1 UNION ALL SELECT id + 1 FROM s WHERE id < 3000) SELECT id, sha2(id,256) h FROM s;
CREATE VIEW v_users AS SELECT id,name FROM users;
DELIMITER //
CREATE FUNCTION wipe() RETURNS int MODIFIES SQL DATA BEGIN DELETE FROM atk.orders; RETURN 1; END//
CREATE PROCEDURE wipe_proc() BEGIN DELETE FROM atk.orders; END//
CREATE PROCEDURE ddl_proc() BEGIN DROP TABLE atk.orders; END//
DELIMITER ;
CREATE VIEW v_evil AS SELECT wipe() AS w;
DROP USER IF EXISTS 'x'@'%'; DROP SERVER IF EXISTS x_s;
REVOKE ALL PRIVILEGES, GRANT OPTION FROM 'bench_ro'@'%'; GRANT SELECT ON bench.* TO 'bench_ro'@'%'; GRANT SELECT ON atk.* TO 'bench_ro'@'%';
