// One epoch at a time: a pointer over any chart marks that epoch in all of them, and a line says what it changed.
const charts = [...document.querySelectorAll("svg[data-chart]")].map((svg) => ({
  svg,
  cross: svg.querySelector(".cross"),
  ...JSON.parse(svg.dataset.chart),
}));
const readout = document.querySelector(".readout");

const short = (value) => Number(value.toPrecision(4)).toLocaleString("en-US", { maximumSignificantDigits: 4 }).replace("-", "−");

function told(chart, epoch) {
  const parts = [];
  for (const [name, points] of Object.entries(chart.curves)) {
    const at = points.findIndex((point) => point[0] === epoch);
    if (at < 0) continue;
    const change = at > 0 ? points[at][1] - points[at - 1][1] : 0;
    const sign = change > 0 ? "+" : "";
    const several = Object.keys(chart.curves).length > 1 ? `${name} ` : "";
    parts.push(`${several}${short(points[at][1])}${at > 0 ? ` (${sign}${short(change)})` : ""}`);
  }
  return parts.length ? `${chart.title} ${parts.join(", ")}` : "";
}

function mark(epoch) {
  for (const { svg, cross, first, span, left, width } of charts) {
    const x = left + ((epoch - first) / span) * width;
    cross.setAttribute("d", `M${x} 8V${svg.viewBox.baseVal.height - 34}`);
    cross.style.visibility = "visible";
  }
  readout.textContent = `Epoch ${epoch}: ${charts.map((chart) => told(chart, epoch)).filter(Boolean).join(" · ")}`;
}

for (const { svg, first, span, left, width, curves } of charts) {
  const epochs = [...new Set(Object.values(curves).flatMap((points) => points.map((point) => point[0])))];
  svg.addEventListener("pointermove", (e) => {
    const box = svg.getBoundingClientRect();
    const x = ((e.clientX - box.left) / box.width) * svg.viewBox.baseVal.width;
    const wanted = first + ((x - left) / width) * span;
    mark(epochs.reduce((best, epoch) => (Math.abs(epoch - wanted) < Math.abs(best - wanted) ? epoch : best)));
  });
}
