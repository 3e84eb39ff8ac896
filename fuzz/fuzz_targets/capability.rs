//! A file of capabilities, and the values of a call: whatever the bytes and whatever the JSON, they are taken
//! or refused, and what is taken once is taken again as it is. The first byte picks the engine; a NUL parts the
//! file from the values.

#![no_main]

use std::path::Path;

use libfuzzer_sys::fuzz_target;
use secondkey::config::capability::read;
use secondkey::core::engine::Engine;
use secondkey::core::statement::STACK_BYTES;

fuzz_target!(|data: &[u8]| {
    let Some((first, rest)) = data.split_first() else { return };
    let engine = match first % 3 {
        0 => Engine::Postgres,
        1 => Engine::MySql,
        _ => Engine::Sqlite,
    };
    let mut parts = rest.splitn(2, |byte| *byte == 0);
    let Ok(file) = std::str::from_utf8(parts.next().unwrap_or_default()) else { return };
    let values = parts.next().and_then(|json| serde_json::from_slice(json).ok());
    std::thread::scope(|scope| {
        let thread = std::thread::Builder::new().stack_size(STACK_BYTES);
        let work = || {
            let Ok(loaded) = read(file, Path::new("capability.yaml"), engine) else { return };
            let Some(serde_json::Value::Object(values)) = values else { return };
            for capability in loaded.bundle.iter() {
                let Ok(once) = capability.called(values.clone()) else { continue };
                let again = capability.called(once.clone().into_iter().collect());
                assert_eq!(again.as_ref(), Ok(&once));
            }
        };
        thread.spawn_scoped(scope, work).unwrap().join().expect("the reader crashed");
    });
});
