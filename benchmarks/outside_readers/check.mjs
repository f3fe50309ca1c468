// What programs that are not ours find in the files of FOLDER: node check.mjs MODULES FOLDER; writes FOLDER/found.json.
import { execFileSync } from "node:child_process";
import fs from "node:fs";
import http from "node:http";
import { createRequire } from "node:module";
import path from "node:path";

const [modules, folder] = process.argv.slice(2).map((p) => path.resolve(p));
const require = createRequire(path.join(modules, "any.js"));
const found = {};
const bytes = (name) => new Uint8Array(fs.readFileSync(path.join(folder, name)));

async function validated(name) {
  const report = await require("gltf-validator").validateBytes(bytes(name), { maxIssues: 100 });
  const { numErrors, numWarnings, numInfos, numHints } = report.issues;
  const codes = [...new Set(report.issues.messages.map((m) => `${m.code}${/KHR_gaussian/.test(m.pointer) ? " (KHR_gaussian_splatting)" : ""}`))];
  return { errors: numErrors, warnings: numWarnings, infos: numInfos, hints: numHints, codes };
}

async function spz(name) {
  const make = (await import(path.join(modules, "node_modules/@adobe/spz/dist/spz.js"))).default;
  const lib = await make({ print: () => {}, printErr: () => {} });
  const cloud = lib.loadSpzFromBuffer(bytes(name), { to: lib.CoordinateSystem.RUB });
  const arrays = ["positions", "scales", "rotations", "alphas", "colors", "sh"];
  return Object.fromEntries(arrays.map((key) => [key, Array.from(cloud[key])]));
}

function transformed(name) {
  const cli = path.join(modules, "node_modules/@playcanvas/splat-transform/bin/cli.mjs");
  const out = path.join(folder, `${name}.csv`);
  execFileSync("node", [cli, "-w", path.join(folder, name), out], { stdio: "ignore" });
  const [head, ...rows] = fs.readFileSync(out, "utf8").trim().split("\n").map((line) => line.split(","));
  return Object.fromEntries(head.map((key, column) => [key, rows.map((row) => Number(row[column]))]));
}

const types = { ".html": "text/html", ".js": "text/javascript", ".mjs": "text/javascript", ".wasm": "application/wasm" };
function serve() {
  const here = path.dirname(new URL(import.meta.url).pathname);
  const server = http.createServer((request, response) => {
    const url = decodeURIComponent(new URL(request.url, "http://x").pathname);
    const place = url.startsWith("/node_modules/") ? modules : url.startsWith("/assets/") ? path.dirname(folder) : here;
    const file = url.startsWith("/assets/") ? path.join(folder, url.slice(8)) : path.join(place, url);
    if (!fs.existsSync(file)) return response.writeHead(404).end();
    response.writeHead(200, { "content-type": types[path.extname(file)] ?? "application/octet-stream" });
    response.end(fs.readFileSync(file));
  });
  return new Promise((done) => server.listen(0, "127.0.0.1", () => done(server)));
}

async function browser(names) {
  const { chromium } = require("playwright-core");
  const server = await serve();
  const flags = ["--no-sandbox", "--disable-quic", "--no-first-run", "--disable-background-networking", "--disable-sync", "--disable-component-update", "--use-angle=swiftshader", "--enable-unsafe-swiftshader"];
  const shell = await chromium.launch({ executablePath: process.env.CHROMIUM ?? "/usr/bin/chromium", args: flags });
  try {
    const page = await shell.newPage({ viewport: { width: 512, height: 512 } });
    page.on("pageerror", (error) => console.error("page:", error.message));
    for (const [key, what, name] of names) {
      await page.goto(`http://127.0.0.1:${server.address().port}/page.html?what=${what}&name=${name}`);
      await page.waitForFunction("window.found !== undefined", null, { timeout: 120000 });
      found[key] = await page.evaluate("window.found");
      await page.screenshot({ path: path.join(folder, `${key.replaceAll(" ", "-")}.png`) });
    }
  } finally {
    await shell.close();
    server.close();
  }
}

for (const name of fs.readdirSync(folder).filter((n) => n.endsWith(".glb"))) found[`validator ${name}`] = await validated(name);
found["adobe spz"] = await spz("gaussians.spz");
for (const name of ["gaussians.spz", "gaussians.ply"]) found[`splat-transform ${name}`] = transformed(name);
await browser([
  ["three mesh.glb", "glb", "mesh.glb"],
  ["three bare.glb", "glb", "bare.glb"],
  ["three mesh.obj", "obj", "mesh.obj"],
  ["playcanvas gaussians.glb", "playcanvas", "gaussians.glb"],
  ["babylon gaussians.glb", "babylon", "gaussians.glb"],
  ["spark gaussians.spz", "spark", "gaussians.spz"],
]);
fs.writeFileSync(path.join(folder, "found.json"), JSON.stringify(found));
