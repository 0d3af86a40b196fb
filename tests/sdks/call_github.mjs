// Calls the simulated GitHub with Octokit, and prints what its caller sees.

import { githubOf } from "./github.mjs";

const github = githubOf(process.argv[2]);

/** The daemon's own refusal. The SDK leaves unread what is not `application/json`. */
async function problem({ data, headers }) {
  const type = headers["content-type"] ?? headers.get("content-type");
  return type === "application/problem+json" ? new Response(data).json() : undefined;
}

/** What Octokit's error says. */
async function refusal(call) {
  try {
    await call;
  } catch (error) {
    const { name, status, response } = error;
    return { name, status, problem: await problem(response), headers: response.headers };
  }
  throw new Error("there was no refusal");
}

const one = await github("GET /items", { page: 3 });

// As Octokit's plugin for pages does, which takes the URL out of `Link`.
const pages = [];
let url = "GET /items";
while (url) {
  const { data, headers } = await github(url);
  pages.push(data);
  url = headers.link?.match(/<([^<>]+)>;\s*rel="next"/)?.[1];
}

const body = "x".repeat(1000);
const { data: created } = await github("POST /echo/repos/{owner}/issues", { owner: "octo/cat", title: "A", body });
const refused = await refusal(github("GET /refuse/github-scope"));
const dead = await refusal(github("GET /refuse/github-dead"));
const forbidden = await refusal(github("DELETE /items"));
const upstream = one.headers["cloakroom-upstream"];
console.log(JSON.stringify({ one: one.data, upstream, pages, created, refused, dead, forbidden }));
