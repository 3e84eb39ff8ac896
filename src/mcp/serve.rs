//! Serving MCP on standard input and output.

use rmcp::ServiceExt as _;
use rmcp::service::ServerInitializeError;
use rmcp::transport::stdio_pipes;

use crate::mcp::Server;

/// Serves one client until its input ends; calls under way are finished first.
pub async fn stdio(server: Server) -> std::io::Result<()> {
    match server.serve(stdio_pipes()).await {
        Ok(running) => {
            running.waiting().await.map_err(std::io::Error::other)?;
            Ok(())
        }
        // A client that leaves before it says anything has done nothing wrong.
        Err(ServerInitializeError::ConnectionClosed(_)) => Ok(()),
        Err(error) => Err(std::io::Error::other(error)),
    }
}
