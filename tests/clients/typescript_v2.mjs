// The second TypeScript SDK, which speaks both generations of the protocol.
//
//     typescript_v2.mjs MODE stdio COMMAND ARG ...
//     typescript_v2.mjs MODE http URL TOKEN
//
// MODE is `legacy` or `auto`.
import { createRequire } from "node:module";
import { pathToFileURL } from "node:url";
import { exercise } from "./exercise.mjs";

const require = createRequire(`${process.env.TEST_CLIENTS_DIR}/package.json`);
const load = (path) => import(pathToFileURL(require.resolve(path)));
const { Client, StreamableHTTPClientTransport } = await load("@modelcontextprotocol/client");
const { StdioClientTransport } = await load("@modelcontextprotocol/client/stdio");

const [mode, kind, ...rest] = process.argv.slice(2);
const transport =
  kind === "stdio"
    ? new StdioClientTransport({ command: rest[0], args: rest.slice(1) })
    : new StreamableHTTPClientTransport(new URL(rest[0]), {
        requestInit: { headers: { Authorization: `Bearer ${rest[1]}` } },
      });
const client = new Client({ name: "typescript-v2", version: "1" }, { versionNegotiation: { mode } });
await client.connect(transport);
await exercise(client, client.getNegotiatedProtocolVersion?.() ?? null);
