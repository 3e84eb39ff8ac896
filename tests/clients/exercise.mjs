// What both TypeScript clients do once they are connected; prints one JSON object.

export async function exercise(client, protocol) {
  const tools = await client.listTools();
  const read = await client.callTool({ name: "sql_execute", arguments: { sql: "SELECT count(*) AS n FROM products" } });
  const write = await client.callTool({ name: "sql_execute", arguments: { sql: "DELETE FROM products" } });
  const answer = (result) => ({
    error: result.isError === true,
    structured: result.structuredContent ?? null,
    text: result.content.map((block) => block.text ?? "").join(""),
  });
  console.log(
    JSON.stringify({
      protocol,
      tools: tools.tools.map((tool) => tool.name),
      read: answer(read),
      write: answer(write),
    }),
  );
  await client.close();
}
