"""The page around the sections. It is well-formed XML, so that any parser reads it."""

from string import Template

STYLE = """
:root { color-scheme: light dark; --ink: #1d2330; --soft: #5b6475; --line: #d9dee7; --ground: #fff; --raised: #f5f7fa;
  --accent: #2463c4; --wrong: #c62f2f; --note: #fff4d6; }
@media (prefers-color-scheme: dark) { :root { --ink: #e6e9ef; --soft: #9aa4b5; --line: #323a48; --ground: #13171f;
  --raised: #1b212c; --accent: #7fb0ff; --wrong: #ff8a80; --note: #3a3013; } }
* { box-sizing: border-box; }
body { margin: 0 auto; padding: 2rem 1.25rem 4rem; max-width: 62rem; background: var(--ground); color: var(--ink);
  font: 16px/1.55 system-ui, -apple-system, "Segoe UI", Roboto, "DejaVu Sans", sans-serif; }
h1 { margin: 0; font-size: 2rem; line-height: 1.2; }
h2 { margin: 2.75rem 0 .75rem; font-size: 1.3rem; }
h3 { margin: 1.5rem 0 .5rem; font-size: 1rem; color: var(--soft); font-weight: 600; }
p { margin: .5rem 0; max-width: 48rem; }
small, .soft, caption, figcaption, footer, .quantities td:last-child { color: var(--soft); font-size: .875rem; }
code, pre { font: .875em/1.5 ui-monospace, "SF Mono", Menlo, "DejaVu Sans Mono", monospace; overflow-wrap: anywhere; }
pre { overflow-x: auto; padding: 1rem; border-radius: .5rem; background: var(--raised); }
.facts { display: flex; flex-wrap: wrap; gap: .25rem 1.5rem; margin: .75rem 0 1rem; padding: 0; list-style: none; }
.reading { padding: .75rem 1rem; border-left: 3px solid var(--accent); background: var(--raised); max-width: none; }
.note { padding: .75rem 1rem; border-radius: .5rem; background: var(--note); max-width: none; }
.wide { overflow-x: auto; }
table { border-collapse: collapse; font-variant-numeric: tabular-nums; }
caption { text-align: left; padding-bottom: .5rem; min-width: 16rem; }
th, td { padding: .4rem .9rem .4rem 0; border-bottom: 1px solid var(--line); text-align: left; vertical-align: top; }
thead th { color: var(--soft); font-size: .875rem; font-weight: 600; }
tbody th { font-weight: 500; }
.scores { width: 100%; }
.scores td { font-size: 1.05rem; min-width: 6rem; }
.scores tbody tr:first-child th, .scores tbody tr:first-child td { font-weight: 700; }
.bar { display: block; height: 4px; margin-top: .2rem; border-radius: 2px; background: var(--line); }
.bar span { display: block; height: 4px; border-radius: 2px; background: var(--soft); }
.scores tbody tr:first-child .bar span { background: var(--accent); }
.charts { display: grid; grid-template-columns: repeat(auto-fill, minmax(min(100%, 18rem), 1fr)); gap: 1.25rem; }
figure, .charts p { margin: 0; }
.charts figure { display: flex; flex-direction: column; }
.charts svg { margin-top: auto; }
.charts figcaption { display: flex; justify-content: space-between; gap: 1rem; align-items: baseline; margin: 0;
  color: var(--ink); }
.facts b, .charts figcaption b { font-weight: 600; }
svg { display: block; width: 100%; height: auto; }
svg text { fill: var(--soft); font: 13px system-ui, -apple-system, "Segoe UI", Roboto, "DejaVu Sans", sans-serif; }
.dot { fill: var(--shade); }
.grid { stroke: var(--line); stroke-width: 1; }
.line { fill: none; stroke: var(--shade); stroke-width: 2; stroke-linejoin: round; stroke-linecap: round; }
.dots { fill: none; stroke-width: 7; stroke-linecap: round; opacity: .7; }
.map { border: 1px solid var(--line); border-radius: .5rem; }
svg .name { font-size: 19px; font-weight: 700; fill: var(--ink); stroke: var(--ground); stroke-width: 5;
  stroke-linejoin: round; paint-order: stroke; }
.map image { image-rendering: pixelated; }
.frame { fill: none; stroke: var(--line); }
.legend { display: flex; flex-wrap: wrap; gap: .25rem 1.25rem; margin: 0 0 .5rem; padding: 0; list-style: none;
  font-size: .875rem; }
.swatch { display: inline-block; width: .8em; height: .8em; margin-right: .4em; border-radius: 50%; }
img.full { display: block; width: 100%; max-width: 50rem; height: auto; margin: 0 auto; }
figcaption { margin-top: .5rem; }
.neighbors { table-layout: fixed; width: 100%; max-width: 40rem; }
.neighbors th, .neighbors td { padding: .4rem .1rem; text-align: center; line-height: 1.25; overflow-wrap: anywhere; }
.neighbors img { display: block; width: min(5.5rem, 12.5vw); margin: 0 auto .25rem; border: 3px solid transparent;
  border-radius: .3rem; image-rendering: pixelated; }
.neighbors span, .neighbors small { display: block; font-size: .8rem; font-weight: 400; }
.neighbors img.query { border-color: var(--soft); }
.neighbors img.wrong { border: 3px dashed var(--wrong); }
.neighbors span.wrong { color: var(--wrong); font-weight: 600; }
details { margin: 1rem 0; }
summary { cursor: pointer; color: var(--accent); }
footer { margin-top: 3rem; padding-top: 1rem; border-top: 1px solid var(--line); }
@media (max-width: 40rem) {
  body { padding: 1.25rem 1rem 3rem; }
  h1 { font-size: 1.6rem; }
  .scores th, .scores td { min-width: 0; padding-right: .4rem; font-size: .9rem; }
  .scores thead th { font-size: .7rem; }
  .neighbors span, .neighbors small { font-size: .68rem; }
  svg .name { font-size: 26px; stroke-width: 7; }
  .dots { stroke-width: 11; }
}
@media print { details > * { display: block; } }
"""

# The policy forbids the page to fetch anything.
PAGE = Template("""<!DOCTYPE html>
<html lang="en">
<head>
<meta charset="utf-8"/>
<meta name="viewport" content="width=device-width, initial-scale=1"/>
<meta http-equiv="Content-Security-Policy" content="default-src 'none'; style-src 'unsafe-inline'; img-src data:"/>
<title>$title</title>
<style>$style</style>
</head>
<body>
<header>$header</header>
<main>$main</main>
<footer>$footer</footer>
</body>
</html>
""")
