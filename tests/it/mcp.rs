//! The server through real MCP clients, and by hand in both generations of the protocol.

pub(crate) mod claude_code;
pub(crate) mod conformance;
mod cursor;
mod inspector;
mod protocol;
mod sdk;
mod snapshots;

use std::path::PathBuf;

use serde_json::Value;
use tempfile::TempDir;

use crate::support::program::Program;
use crate::support::shop;

/// A shop's database and the program that serves it, reads only.
struct ShopServer {
    _folder: TempDir,
    file: PathBuf,
    program: Program,
}

impl ShopServer {
    fn new() -> Self {
        Self::with_flags(&[])
    }

    fn with_flags(flags: &[&str]) -> Self {
        let folder = TempDir::new().unwrap();
        let file = folder.path().join("shop.db");
        shop::create(&file);
        let url = format!("shop=sqlite:{}", file.display());
        let arguments = [&["--database-url", url.as_str()], flags].concat();
        Self {
            _folder: folder,
            file,
            program: Program::with_arguments(&arguments),
        }
    }
}

/// What `exercise.mjs` and `python_client.py` print, checked.
fn assert_exercised(printed: &Value, shop: &ShopServer) {
    let tools = printed["tools"].as_array().expect("a list of tools");
    assert!(tools.contains(&Value::from("sql_execute")), "{printed}");
    assert_eq!(printed["read"]["error"], false, "{printed}");
    let rows = &printed["read"]["structured"]["rows"];
    assert_eq!(rows[0][0], shop::PRODUCTS, "{printed}");
    assert_eq!(printed["write"]["error"], true, "{printed}");
    let refusal = printed["write"].to_string();
    assert!(refusal.contains("approval_required"), "{printed}");
    assert_eq!(shop::products(&shop.file), shop::PRODUCTS);
}
