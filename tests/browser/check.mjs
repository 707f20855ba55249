// The checks of `run`: makes pages with the program, opens them at several widths in both colour schemes, and looks.

import { spawnSync } from "node:child_process";
import { cpSync, readFileSync, writeFileSync } from "node:fs";
import { createRequire } from "node:module";
import { join } from "node:path";
import { pathToFileURL } from "node:url";
import { chromium } from "playwright-core";

const [program, executablePath, folder] = process.argv.slice(2);
const axe = readFileSync(createRequire(import.meta.url).resolve("axe-core/axe.min.js"), "utf8");
const fixtures = new URL("../fixtures/", import.meta.url).pathname;

let failed = 0;
let passed = 0;
function expect(what, ok, detail = "") {
    if (ok) {
        passed += 1;
    } else {
        failed += 1;
        console.log(`FAILED: ${what} ${typeof detail === "string" ? detail : JSON.stringify(detail)}`);
    }
}

/** The cases that a page is made of, and the options. */
const words = "river library python process snake bitcoin node react paris bread engine ranking query vector".split(" ");
const many = Array.from({ length: 300 }, (_, i) => {
    return `${i}: ${words.slice(i % 5, 5 + (i % 9)).join(" ")} ${words[(i * 7) % words.length]}`;
});
const hostile = [
    "<script>document.title = 'owned'; alert(1)</script>",
    "\"'><svg onload=alert(1)><img src=x onerror=alert(1)>",
    "</style></title><meta http-equiv=refresh content='0;url=https://example.org/'><base href=https://example.org/>",
    "NUL \0 ESC \u001b[31m bell \u0007 \u0085",
    "\u202ereversed\u202c and \u2067isolated",
    "x".repeat(5000),
    "e" + "\u0301".repeat(2000),
    "word ".repeat(2000),
    "",
    "مرحبا بالعالم، هذا نص عربي",
    "日本語の文書です。👩‍👩‍👧",
];
const experiment = join(fixtures, "..", "..", "examples", "experiment");
// A model that gives no number for some documents.
const broken = join(folder, "broken-model");
cpSync(join(fixtures, "bert-cross-encoder"), broken, { recursive: true });
cpSync(join(fixtures, "broken", "nan.onnx"), join(broken, "model.onnx"));
const pages = {
    "built-in": { options: ["--published"] },
    "raw-scores": { options: ["--raw-scores"] },
    many: { cases: [{ name: "Three hundred documents", query: "python ranking", documents: many }] },
    hostile: {
        cases: [
            { name: "Words of strangers", query: hostile[1], documents: hostile },
            ...hostile.map((text) => ({ name: text, query: text, documents: [text, "river"] })),
        ],
    },
    failures: {
        options: ["--reranker", broken],
        cases: [{ name: "Failures", query: "old", documents: ["river", "nan", "library", "library ".repeat(600)] }],
        status: 1,
    },
    empty: { cases: [{ name: "", query: "", documents: [] }] },
    experiment: {
        options: ["corpus.jsonl", "queries.jsonl", "bm25.trec", "qrels.trec"].flatMap((name) => [
            { "corpus.jsonl": "--corpus", "queries.jsonl": "--queries", "bm25.trec": "--run", "qrels.trec": "--qrels" }[name],
            join(experiment, name),
        ]),
        title: "First stage, bi-encoder, cross-encoder, cascade, fusion",
    },
};

function make(name, { options = [], cases, status = 0 }) {
    const file = join(folder, `${name}.html`);
    const from = cases ? ["--cases", "-"] : [];
    const made = spawnSync(program, ["compare", "--format", "html", "-o", file, ...from, ...options], {
        input: cases ? JSON.stringify({ cases }) : "",
        encoding: "utf8",
    });
    if (made.status !== status) {
        throw new Error(`${name}: exit code ${made.status}: ${made.stderr}`);
    }
    return pathToFileURL(file).href;
}

/** What the page would do that it must not: requests, messages, dialogs, errors. */
function watch(page, url) {
    const seen = [];
    page.on("request", (request) => request.url() !== url && seen.push(`request ${request.url()}`));
    page.on("console", (message) => seen.push(`console ${message.text()}`));
    page.on("pageerror", (error) => seen.push(`error ${error}`));
    page.on("dialog", (dialog) => (seen.push(`dialog ${dialog.message()}`), dialog.dismiss()));
    return seen;
}

/** How far the page is wider than the window, and what sticks out of it. */
function sideways(page) {
    return page.evaluate(() => {
        const wide = document.documentElement.scrollWidth - window.innerWidth;
        const boxed = (element) => element.closest(".scroll, .unseen, thead, svg");
        const out = [...document.querySelectorAll("body *")].filter(
            (element) => element.getBoundingClientRect().right > window.innerWidth + 1 && !boxed(element),
        );
        return { wide, out: out.slice(0, 3).map((element) => element.outerHTML.slice(0, 120)) };
    });
}

/** The lines whose ends are not at the labels of their ranks: 2 pixels may be rounding. */
function crooked(page) {
    return page.evaluate(() => {
        const off = [];
        for (const chart of document.querySelectorAll(".chart")) {
            const middle = (element) => {
                const box = element.getBoundingClientRect();
                return (box.top + box.bottom) / 2;
            };
            for (const [side, end] of [["left", 0], ["right", 1]]) {
                const dots = [...chart.querySelectorAll("circle")].filter((dot) => (dot.getAttribute("cx") === "0") === (end === 0));
                const rows = [...chart.querySelectorAll(`.${side} .row`)].map(middle);
                if (dots.length !== rows.length) off.push(`${dots.length} dots for ${rows.length} labels`);
                for (const dot of dots) {
                    const nearest = Math.min(...rows.map((row) => Math.abs(row - middle(dot))));
                    if (nearest > 2) off.push(`${side}: ${nearest} px`);
                }
            }
        }
        return off;
    });
}

const browser = await chromium.launch({ executablePath, args: ["--no-sandbox"] });
console.log(`Chromium ${browser.version()}; screenshots in ${folder}`);
for (const [name, description] of Object.entries(pages)) {
    const url = make(name, description);
    for (const colorScheme of ["light", "dark"]) {
        for (const width of [1280, 768, 390, 360]) {
            const what = `${name}, ${width} px, ${colorScheme}:`;
            const page = await browser.newPage({ viewport: { width, height: 844 }, colorScheme });
            const seen = watch(page, url);
            await page.goto(url);
            const { wide, out } = await sideways(page);
            expect(`${what} no scrolling sideways`, wide <= 0 && out.length === 0, { wide, out });
            expect(`${what} lines end at their labels`, (await crooked(page)).length === 0, await crooked(page));
            if (width !== 768) {
                await page.screenshot({ path: join(folder, `${name}-${width}-${colorScheme}.png`), fullPage: true });
            }
            // Whatever is folded can be read too, and is checked with the rest.
            await page.evaluate(() => document.querySelectorAll("details").forEach((details) => (details.open = true)));
            const opened = await sideways(page);
            expect(`${what} nor with all opened`, opened.wide <= 0 && opened.out.length === 0, opened);
            await page.evaluate(axe);
            const { violations } = await page.evaluate(() => axe.run({ resultTypes: ["violations"] }));
            const found = violations.map(({ id, nodes }) => `${id}: ${nodes.length} × ${nodes[0].html.slice(0, 160)}`);
            expect(`${what} axe-core finds nothing`, found.length === 0, found);
            // Roles survive the style that makes blocks of rows.
            const roles = await Promise.all(["table", "columnheader", "rowheader", "row"].map((role) => page.getByRole(role).count()));
            expect(`${what} tables are tables`, roles.every((count) => count > 0) && roles[3] > roles[0], roles);
            // Text twice as large (WCAG 1.4.4).
            await page.evaluate(() => (document.documentElement.style.fontSize = "200%"));
            const large = await sideways(page);
            expect(`${what} no scrolling sideways with large text`, large.wide <= 0, large);
            expect(`${what} lines end at large labels`, (await crooked(page)).length === 0, await crooked(page));
            expect(`${what} nothing fetched, run or said`, seen.length === 0, seen);
            await page.close();
        }
    }

    // Without JavaScript, on paper, and with the keyboard.
    const context = await browser.newContext({ javaScriptEnabled: false });
    const page = await context.newPage();
    await page.goto(url);
    expect(`${name}: a title of its own`, (await page.title()) === (description.title ?? "Bi-encoder and cross-encoder"), await page.title());
    const fold = page.locator("details.passage").first();
    if (await fold.count()) {
        await fold.locator("summary").press("Enter");
        expect(`${name}: a folded text opens by keyboard`, await fold.locator(".whole").isVisible());
    }
    const pdf = await page.pdf({ path: join(folder, `${name}.pdf`), format: "A4", margin: { top: "1.5cm", bottom: "1.5cm", left: "1.5cm", right: "1.5cm" } });
    expect(`${name}: prints`, pdf.length > 10_000);
    await context.close();
}
await browser.close();
console.log(`${passed} passed, ${failed} failed`);
process.exitCode = failed ? 1 : 0;
