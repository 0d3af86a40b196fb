// Calls the simulated Graph with Microsoft's client, and prints what its caller sees.

import { PageIterator } from "@microsoft/microsoft-graph-client";
import { graphOf } from "./graph.mjs";

const graph = graphOf(process.argv[2]);

/** What Microsoft's error says. */
async function refusal(call) {
  try {
    await call;
  } catch (error) {
    const { statusCode, code, headers, body } = error;
    const name = error.constructor.name;
    // A body that is not of Graph's form is a stream that has not been read, and then there are no headers.
    if (!headers) return { name, status: statusCode, problem: await new Response(body).json() };
    return { name, status: statusCode, code, headers: Object.fromEntries(headers) };
  }
  throw new Error("there was no refusal");
}

const me = await graph.api("/me").select("displayName").get();

const listed = [];
const first = await graph.api("/me/messages").get();
await new PageIterator(graph, first, ({ id }) => listed.push(id)).iterate();

await graph.api("/me/sendMail").post({ message: { subject: "Hello" } });
const refused = await refusal(graph.api("/me/drive").get());
const forbidden = await refusal(graph.api("/users").get());
console.log(JSON.stringify({ me, listed, refused, forbidden }));
