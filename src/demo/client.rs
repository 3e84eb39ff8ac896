//! A real MCP client: it starts the server as a child process and speaks the protocol to it.

use std::path::Path;
use std::process::Stdio;

use rmcp::model::{CallToolRequestParams, ClientConfig, Implementation, ProtocolVersion};
use rmcp::service::{ClientLifecycleMode, ClientServiceExt as _, RunningService};
use rmcp::transport::TokioChildProcess;
use rmcp::{Peer, RoleClient};
use serde_json::Value;
use tokio::process::Command;

use crate::demo::DemoError;

/// A client with its server.
#[derive(Debug)]
pub(super) struct Client {
    service: RunningService<RoleClient, ClientConfig>,
}

/// What a tool said.
#[derive(Debug)]
pub(super) struct Said {
    /// Whether it was an error.
    pub(super) refused: bool,
    /// The structured content, or the error's text parsed.
    pub(super) content: Value,
}

impl Client {
    /// With a server of this configuration and state folder.
    pub(super) async fn of_server(
        binary: &Path,
        config: &Path,
        state: &Path,
    ) -> Result<Self, DemoError> {
        let mut command = Command::new(binary);
        command
            .arg("mcp")
            .arg("--config")
            .arg(config)
            .arg("--state")
            .arg(state)
            .env_remove("SECONDKEY_DATABASE_URL")
            .current_dir(state.parent().unwrap_or(state));
        Self::start(command).await
    }

    /// With the server that a command is.
    pub(super) async fn start(command: Command) -> Result<Self, DemoError> {
        let (transport, _) = TokioChildProcess::builder(command)
            .stderr(Stdio::inherit())
            .spawn()
            .map_err(|source| DemoError::Io {
                doing: "the server could not be started",
                source,
            })?;
        let mut config = ClientConfig::default();
        config.client_info = Implementation::new("secondkey-demo", env!("CARGO_PKG_VERSION"));
        let mode = ClientLifecycleMode::Discover {
            preferred_versions: vec![ProtocolVersion::LATEST],
        };
        let service = config
            .serve_with_lifecycle(transport, mode)
            .await
            .map_err(|error| DemoError::Client(error.to_string()))?;
        Ok(Self { service })
    }

    /// The names of the tools the server lists.
    pub(super) async fn tools(&self) -> Result<Vec<String>, DemoError> {
        let tools = self.peer().list_all_tools().await;
        let tools = tools.map_err(|error| DemoError::Client(error.to_string()))?;
        Ok(tools
            .into_iter()
            .map(|tool| tool.name.into_owned())
            .collect())
    }

    /// Calls a tool.
    pub(super) async fn call(&self, tool: &str, arguments: &Value) -> Result<Said, DemoError> {
        let arguments = arguments.as_object().cloned().unwrap_or_default();
        let request = CallToolRequestParams::new(tool.to_owned()).with_arguments(arguments);
        let result = self.peer().call_tool(request).await;
        let result = result.map_err(|error| DemoError::Client(error.to_string()))?;
        let refused = result.is_error == Some(true);
        let text = || {
            let text = result.content.iter().find_map(|block| block.as_text());
            text.and_then(|text| serde_json::from_str(&text.text).ok())
                .unwrap_or_default()
        };
        let content = result.structured_content.clone().unwrap_or_else(text);
        Ok(Said { refused, content })
    }

    /// Closes the server's input and waits for it to end.
    pub(super) async fn stop(self) -> Result<(), DemoError> {
        self.service
            .cancel()
            .await
            .map_err(|error| DemoError::Client(error.to_string()))?;
        Ok(())
    }

    fn peer(&self) -> &Peer<RoleClient> {
        self.service.peer()
    }
}
