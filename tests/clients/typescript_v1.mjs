// The first TypeScript SDK, which speaks the older protocol only.
//
//     typescript_v1.mjs legacy stdio COMMAND ARG ...
//     typescript_v1.mjs legacy http URL TOKEN
import { createRequire } from "node:module";
import { pathToFileURL } from "node:url";
import { exercise } from "./exercise.mjs";

const require = createRequire(`${process.env.TEST_CLIENTS_DIR}/package.json`);
const load = (path) => import(pathToFileURL(require.resolve(path)));
const { Client } = await load("@modelcontextprotocol/sdk/client/index.js");
const { StdioClientTransport } = await load("@modelcontextprotocol/sdk/client/stdio.js");
const { StreamableHTTPClientTransport } = await load("@modelcontextprotocol/sdk/client/streamableHttp.js");

const [, kind, ...rest] = process.argv.slice(2);
const transport =
  kind === "stdio"
    ? new StdioClientTransport({ command: rest[0], args: rest.slice(1) })
    : new StreamableHTTPClientTransport(new URL(rest[0]), {
        requestInit: { headers: { Authorization: `Bearer ${rest[1]}` } },
      });
const client = new Client({ name: "typescript-v1", version: "1" });
await client.connect(transport);
await exercise(client, transport.protocolVersion ?? "legacy");
