// The first TypeScript SDK with the experimental tasks of 2025-11-25: calls a tool as a task, follows it
// to its end, and prints what it met as one JSON object.
//
//     older_tasks.mjs stdio SQL COMMAND ARG ...
//     older_tasks.mjs http SQL URL TOKEN
import { createRequire } from "node:module";
import { pathToFileURL } from "node:url";

const require = createRequire(`${process.env.TEST_CLIENTS_DIR}/package.json`);
const load = (path) => import(pathToFileURL(require.resolve(path)));
const { Client } = await load("@modelcontextprotocol/sdk/client/index.js");
const { CallToolResultSchema } = await load("@modelcontextprotocol/sdk/types.js");
const { StdioClientTransport } = await load("@modelcontextprotocol/sdk/client/stdio.js");
const { StreamableHTTPClientTransport } = await load("@modelcontextprotocol/sdk/client/streamableHttp.js");

const [kind, sql, ...rest] = process.argv.slice(2);
const transport =
  kind === "stdio"
    ? new StdioClientTransport({ command: rest[0], args: rest.slice(1) })
    : new StreamableHTTPClientTransport(new URL(rest[0]), {
        requestInit: { headers: { Authorization: `Bearer ${rest[1]}` } },
      });
const client = new Client({ name: "raw", version: "1" }, { capabilities: { tasks: {} }, enforceStrictCapabilities: true });
await client.connect(transport);
const { tools } = await client.listTools();
const execution = tools.find((tool) => tool.name === "sql_execute").execution ?? null;

// Without `task`: the SDK makes a task of it because the tool says that it can be one.
async function follow(sql) {
  const met = [];
  const call = { name: "sql_execute", arguments: { sql } };
  for await (const message of client.experimental.tasks.callToolStream(call)) {
    met.push(message.type === "error" ? { ...message, error: message.error.message } : message);
  }
  return met;
}
const write = await follow(sql);
const read = await follow("SELECT count(*) AS n FROM products");
const refused = await follow("SELECT nonsense FROM products");
const listed = await client.experimental.tasks.listTasks();
const failed = refused.find((message) => message.type === "taskCreated").task.taskId;
const why = await client.experimental.tasks.getTaskResult(failed, CallToolResultSchema);
console.log(JSON.stringify({ execution, write, read, refused, why, listed: listed.tasks }));
await client.close();
