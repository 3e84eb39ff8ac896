//! The statement guard must neither crash nor hang, whatever the bytes. The first byte picks the
//! engine. Parsing happens on a thread with the stack that the parse pool gives it.

#![no_main]

use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::sync::{Mutex, OnceLock};
use std::thread;

use libfuzzer_sys::fuzz_target;
use secondkey::core::engine::Engine;
use secondkey::core::statement::{Effect, parse};

type Job = (Engine, String);

struct Worker {
    jobs: SyncSender<Job>,
    done: Mutex<Receiver<()>>,
}

fn worker() -> &'static Worker {
    static WORKER: OnceLock<Worker> = OnceLock::new();
    WORKER.get_or_init(|| {
        let (jobs, queue) = sync_channel::<Job>(1);
        let (finished, done) = sync_channel(1);
        let work = move || {
            for (engine, sql) in queue {
                if let Ok(statement) = parse(engine, &sql) {
                    // What is not a plain read always says why.
                    assert!(statement.effect == Effect::Read || !statement.reasons.is_empty());
                }
                finished.send(()).unwrap();
            }
        };
        thread::Builder::new().stack_size(64 << 20).spawn(work).unwrap();
        Worker { jobs, done: Mutex::new(done) }
    })
}

fuzz_target!(|data: &[u8]| {
    let Some((first, rest)) = data.split_first() else { return };
    let Ok(sql) = std::str::from_utf8(rest) else { return };
    let engine = match first % 3 {
        0 => Engine::Postgres,
        1 => Engine::MySql,
        _ => Engine::Sqlite,
    };
    let worker = worker();
    worker.jobs.send((engine, sql.to_owned())).unwrap();
    worker.done.lock().unwrap().recv().expect("the parser crashed");
});
