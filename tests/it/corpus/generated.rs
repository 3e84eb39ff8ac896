//! Statements that are too long or too odd for a line of a file, made from what the case says
//! about itself.

/// The statement as the bytes of a JSON string, quotes included.
pub(crate) fn statement(why: &str) -> Vec<u8> {
    match why {
        "100 kB string literal" => quoted(&format!("SELECT length('{}')", "x".repeat(100_000))),
        "60 nested parentheses" => quoted(&nested(60)),
        "1,001 columns" => {
            let columns: Vec<String> = (1..=1001).map(|n| format!("{n} AS c{n}")).collect();
            quoted(&format!("SELECT {}", columns.join(", ")))
        }
        "10,000 nested parentheses must not crash the guard" => quoted(&nested(10_000)),
        "100,000 nested NOT (recursive-descent parsers overflow)" => {
            quoted(&format!("SELECT {}true", "NOT ".repeat(100_000)))
        }
        "20 MB statement must be refused by a size limit" => {
            quoted(&format!("SELECT '{}'", "x".repeat(20_000_000)))
        }
        "100,000 unclosed nested comments" => quoted(&format!("SELECT 1 {}", "/*".repeat(100_000))),
        "GBK 0xBF5C: backslash is a trailing byte under SET NAMES gbk" => {
            let tail = b"\\' OR 1=1; DELETE FROM orders -- \"";
            [
                b"\"SELECT * FROM users WHERE name = '\xbf\\".as_slice(),
                tail,
            ]
            .concat()
        }
        "over-long encoding of a quote" => {
            b"\"SELECT id FROM users WHERE name = '\xc0\xa7; DELETE FROM orders --'\"".to_vec()
        }
        "UTF-16 text" => {
            let units = "DELETE FROM orders".encode_utf16();
            let text: Vec<u8> = units.flat_map(u16::to_le_bytes).collect();
            [b"\"\xff\xfe".as_slice(), &text, b"\""].concat()
        }
        other => panic!("no statement is made for: {other}"),
    }
}

fn nested(depth: usize) -> String {
    format!("SELECT {}1{}", "(".repeat(depth), ")".repeat(depth))
}

fn quoted(sql: &str) -> Vec<u8> {
    serde_json::to_vec(sql).unwrap()
}
