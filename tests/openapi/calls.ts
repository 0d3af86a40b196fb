// Calls every operation through the generated types: node calls.js SOCKET USER_TOKEN. Prints each method and path.
// test_typescript.py writes others.ts, with the operations that have no line here.

import assert from "node:assert/strict";
import http from "node:http";
import createClient from "openapi-fetch";
import type { paths } from "./cloakroom.js";
import { callTheOthers } from "./others.js";

const [socketPath, userToken] = process.argv.slice(2);
const GOOGLE = "google-oauth2|103547991597142817347";

/** fetch over the socket, which the one of the platform does not know. */
async function overSocket(request: Request): Promise<Response> {
  const { pathname, search } = new URL(request.url);
  const body = Buffer.from(await request.arrayBuffer());
  const options = {
    socketPath,
    path: pathname + search,
    method: request.method,
    headers: { ...Object.fromEntries(request.headers), "content-length": body.length },
  };
  return new Promise((resolve, reject) => {
    const sent = http.request(options, (answer) => {
      const pieces: Buffer[] = [];
      answer.on("data", (piece) => pieces.push(piece));
      answer.on("end", () => {
        const headers = new Headers();
        Object.entries(answer.headers).forEach(([name, value]) => headers.set(name, String(value)));
        const status = answer.statusCode!;
        resolve(new Response(status === 204 ? null : Buffer.concat(pieces).toString(), { status, headers }));
      });
    });
    sent.on("error", reject);
    sent.end(body);
  });
}

const client = createClient<paths>({
  baseUrl: "http://localhost",
  headers: { "Cloakroom-Request": "true" },
  fetch: overSocket,
});

/** Checks the status, and names the operation. */
function answered<T extends { response: Response }>(operation: string, status: number, got: T): T {
  assert.equal(got.response.status, status, operation);
  console.log(operation);
  return got;
}

const path = { user_id: GOOGLE };
const own = { Authorization: `Bearer ${userToken}` };

const { data: token } = answered(
  "GET /v1/users/{user_id}/token",
  200,
  await client.GET("/v1/users/{user_id}/token", { params: { path, query: { connection: "google-oauth2", min_ttl: 1 } } }),
);
assert(token && token.expires_in !== null);
assert.equal(token.access_token, "ya29.demo-foo");
const { data: identities } = answered(
  "GET /v1/users/{user_id}/identities",
  200,
  await client.GET("/v1/users/{user_id}/identities", { params: { path } }),
);
assert.equal(identities?.identities[0]?.token, "available");
const nobody = await client.GET("/v1/users/{user_id}/token", { params: { path: { user_id: "auth0|nobody" } } });
assert.equal(nobody.error?.code, "user_not_found");

const { data: mine } = answered("GET /v1/me/token", 200, await client.GET("/v1/me/token", { headers: own }));
assert.equal(mine?.user_id, GOOGLE);
answered("GET /v1/me/identities", 200, await client.GET("/v1/me/identities", { headers: own }));

const { data: report } = answered(
  "POST /v1/users/{user_id}/report",
  200,
  await client.POST("/v1/users/{user_id}/report", { params: { path }, body: { fingerprint: token.fingerprint } }),
);
assert.equal(report?.outcome, "dropped");
answered("DELETE /v1/users/{user_id}", 204, await client.DELETE("/v1/users/{user_id}", { params: { path } }));
answered("DELETE /v1/users", 204, await client.DELETE("/v1/users"));

// The demo has no rules, and no configuration that could be read again.
const { error: forbidden } = answered("GET /v1/management-token", 403, await client.GET("/v1/management-token"));
assert.equal(forbidden?.code, "forbidden");
const { error: invalid } = answered("POST /v1/reload", 422, await client.POST("/v1/reload"));
assert(invalid?.problems?.length);

const { data: status } = answered("GET /v1/status", 200, await client.GET("/v1/status"));
assert.equal(status?.ready, true);
answered("GET /livez", 200, await client.GET("/livez", { parseAs: "text" }));
answered("GET /readyz", 200, await client.GET("/readyz", { parseAs: "text" }));
answered("GET /startupz", 200, await client.GET("/startupz", { parseAs: "text" }));
answered("GET /metrics", 200, await client.GET("/metrics", { parseAs: "text" }));

await callTheOthers(client, own, (operation, described, { response }) => {
  assert(described.includes(response.status), `${operation}: ${response.status}`);
  console.log(operation);
});
