// Maps of features: the same samples in the plane of each run, on canvases that share one choice of a sample.

const el = (tag, props = {}, ...children) => {
  const node = Object.assign(document.createElement(tag), props);
  node.append(...children);
  return node;
};
const NEAR = 18; // px from the pointer to a sample
const calm = matchMedia("(prefers-reduced-motion: reduce)");

class Pane {
  constructor(map, run, number) {
    Object.assign(this, { map, run, number, zoom: 1, x: 0, y: 0, touches: new Map() });
    this.points = run.planes[0].points.slice();
    this.canvas = el("canvas", { tabIndex: 0 });
    this.canvas.setAttribute("role", "img");
    this.canvas.setAttribute("aria-label",
      `Map of ${map.count} ${map.data.kind}${run.label ? `, ${run.label}` : ""}. Arrow keys go from one to the next, + and − zoom.`);
    this.box = el("div", { className: "pane" }, ...(run.label ? [el("h3", {}, run.label)] : []), this.canvas);
    const on = (name, call, options) => this.canvas.addEventListener(name, call, options);
    on("pointerdown", (e) => this.down(e));
    on("pointermove", (e) => this.move(e));
    for (const name of ["pointerup", "pointercancel"]) on(name, (e) => this.up(e));
    on("pointerleave", () => this.touches.size || map.pick(null));
    on("dblclick", (e) => this.zoomAt(2, e.offsetX, e.offsetY));
    on("wheel", (e) => {
      if (!e.ctrlKey && !e.metaKey) return; // else the page scrolls
      e.preventDefault();
      this.zoomAt(Math.exp(-e.deltaY / 200), e.offsetX, e.offsetY);
    }, { passive: false });
    on("keydown", (e) => this.key(e));
    new ResizeObserver(() => this.resize()).observe(this.canvas);
  }

  resize() {
    const { clientWidth: width, clientHeight: height } = this.canvas;
    if (!width) return;
    Object.assign(this, { width, height });
    this.canvas.width = width * devicePixelRatio;
    this.canvas.height = height * devicePixelRatio;
    this.draw();
  }

  // Where sample i is on the canvas.
  place(i) {
    const margin = this.map.pictures ? 30 : 20;
    const [wide, high] = this.map.extent(this.run);
    const scale = Math.min((this.width - 2 * margin) / wide, (this.height - 2 * margin) / high);
    const x = this.width / 2 + (this.points[2 * i] - wide / 2) * scale;
    const y = this.height / 2 - (this.points[2 * i + 1] - high / 2) * scale;
    return [x * this.zoom + this.x, y * this.zoom + this.y];
  }

  draw() {
    if (!this.width) return;
    const g = this.canvas.getContext("2d");
    const map = this.map;
    g.setTransform(devicePixelRatio, 0, 0, devicePixelRatio, 0, 0);
    g.clearRect(0, 0, this.width, this.height);
    const places = Array.from({ length: map.count }, (_, i) => this.place(i));
    const values = map.values(this.number);
    const colors = map.coloring.colors;
    const radius = Math.min(7, (this.width < 420 ? 2.6 : 3.4) * this.zoom ** 0.35);
    const groups = colors.map(() => []);
    for (let i = 0; i < map.count; i++) groups[values[i]].push(i);
    groups.forEach((members, c) => {
      g.globalAlpha = map.only === null || map.only === c ? 0.8 : 0.08;
      g.fillStyle = colors[c];
      g.beginPath();
      for (const i of members) {
        const [x, y] = places[i];
        g.moveTo(x + radius, y);
        g.arc(x, y, radius, 0, 7);
      }
      g.fill();
    });
    g.globalAlpha = 1;
    if (map.pictures) this.drawPictures(g, places, values, colors);
    else if (colors.length <= 20) this.drawNames(g, places, groups);
    if (map.picked !== null) this.drawPicked(g, places, radius);
  }

  drawPictures(g, places, values, colors) {
    const side = this.width < 420 ? 26 : 34;
    const taken = [];
    for (let i = 0; i < this.map.count; i++) {
      const [x, y] = places[i];
      const hidden = this.map.only !== null && values[i] !== this.map.only;
      const outside = x < -side || y < -side || x > this.width + side || y > this.height + side;
      if (hidden || outside || taken.some(([u, v]) => Math.max(Math.abs(u - x), Math.abs(v - y)) < side + 5)) continue;
      taken.push([x, y]);
      this.map.paint(g, i, x - side / 2, y - side / 2, side);
      g.lineWidth = 2;
      g.strokeStyle = colors[values[i]];
      g.strokeRect(x - side / 2, y - side / 2, side, side);
    }
  }

  drawNames(g, places, groups) {
    const { ink, ground } = this.map.shades;
    g.font = "600 14px system-ui, sans-serif";
    g.textAlign = "center";
    g.lineJoin = "round";
    const middle = (values) => values.sort((a, b) => a - b)[values.length >> 1];
    const kept = [];
    groups.forEach((members, c) => {
      if (!members.length || (this.map.only !== null && this.map.only !== c)) return;
      const [mx, my] = [0, 1].map((axis) => middle(members.map((i) => places[i][axis])));
      const away = middle(members.map((i) => Math.hypot(places[i][0] - mx, places[i][1] - my)));
      if (away > 0.22 * this.zoom * Math.min(this.width, this.height)) return; // scattered: no place of its own
      const name = this.map.coloring.names[c];
      const half = g.measureText(name).width / 2 + 4;
      const x = mx;
      let y = my + 5;
      const hit = () => kept.some(([u, v, w]) => Math.abs(v - y) < 17 && Math.abs(u - x) < w + half);
      for (let tries = 0; hit() && tries < 40; tries++) y += 4;
      kept.push([x, y, half]);
      g.lineWidth = 4;
      g.strokeStyle = ground;
      g.strokeText(name, x, y);
      g.fillStyle = ink;
      g.fillText(name, x, y);
    });
  }

  drawPicked(g, places, radius) {
    const { ink, ground, wrong } = this.map.shades;
    const chosen = this.map.picked;
    const ring = (i, r, color) => {
      g.beginPath();
      g.arc(...places[i], r, 0, 7);
      g.lineWidth = 4;
      g.strokeStyle = ground;
      g.stroke();
      g.lineWidth = 2;
      g.strokeStyle = color;
      g.stroke();
    };
    for (const j of this.run.near[chosen]) {
      const color = this.map.other(chosen, j) ? wrong : ink;
      g.beginPath();
      g.moveTo(...places[chosen]);
      g.lineTo(...places[j]);
      g.lineWidth = 1.2;
      g.strokeStyle = color;
      g.stroke();
      ring(j, radius + 2, color);
    }
    ring(chosen, radius + 5, this.map.shades.accent);
  }

  // The sample at a point of the canvas, null if none is near.
  at(x, y, reach = NEAR) {
    let best = null;
    let least = reach * reach;
    const values = this.map.values(this.number);
    for (let i = 0; i < this.map.count; i++) {
      if (this.map.only !== null && values[i] !== this.map.only) continue;
      const [u, v] = this.place(i);
      const far = (u - x) ** 2 + (v - y) ** 2;
      if (far < least) [best, least] = [i, far];
    }
    return best;
  }

  zoomAt(factor, x = this.width / 2, y = this.height / 2) {
    const zoom = Math.min(60, Math.max(1, this.zoom * factor));
    this.x = zoom === 1 ? 0 : x - ((x - this.x) * zoom) / this.zoom;
    this.y = zoom === 1 ? 0 : y - ((y - this.y) * zoom) / this.zoom;
    this.zoom = zoom;
    // Where the map is whole, a finger scrolls the page.
    this.canvas.style.touchAction = zoom > 1 ? "none" : "pan-y";
    this.draw();
  }

  down(e) {
    this.touches.set(e.pointerId, [e.offsetX, e.offsetY]);
    this.moved = this.touches.size > 1;
    this.canvas.setPointerCapture(e.pointerId);
  }

  move(e) {
    const before = this.touches.get(e.pointerId);
    if (!before) {
      if (e.pointerType === "mouse") this.map.pick(this.at(e.offsetX, e.offsetY));
      return;
    }
    const [dx, dy] = [e.offsetX - before[0], e.offsetY - before[1]];
    if (this.touches.size === 1) {
      if (!this.moved && Math.hypot(dx, dy) < 5) return;
      this.moved = true;
      if (this.zoom > 1) [this.x, this.y] = [this.x + dx, this.y + dy];
    } else {
      const [one, two] = [...this.touches.values()];
      const old = Math.hypot(one[0] - two[0], one[1] - two[1]);
      before[0] = e.offsetX;
      before[1] = e.offsetY;
      const now = Math.hypot(one[0] - two[0], one[1] - two[1]);
      if (old > 0) this.zoomAt(now / old, (one[0] + two[0]) / 2, (one[1] + two[1]) / 2);
    }
    this.touches.set(e.pointerId, [e.offsetX, e.offsetY]);
    this.draw();
  }

  up(e) {
    if (!this.touches.delete(e.pointerId) || this.moved || e.type === "pointercancel") return;
    const found = this.at(e.offsetX, e.offsetY, e.pointerType === "mouse" ? NEAR : 2 * NEAR);
    this.map.pin(found === this.map.picked && this.map.pinned ? null : found);
  }

  key(e) {
    const way = { ArrowLeft: [-1, 0], ArrowRight: [1, 0], ArrowUp: [0, -1], ArrowDown: [0, 1] }[e.key];
    if (way) this.walk(...way);
    else if (e.key === "+" || e.key === "=") this.zoomAt(1.5);
    else if (e.key === "-") this.zoomAt(1 / 1.5);
    else if (e.key === "0") this.zoomAt(0);
    else if (e.key === "Escape") this.map.pin(null);
    else return;
    e.preventDefault();
  }

  walk(dx, dy) {
    const [x, y] = this.map.picked === null ? [this.width / 2, this.height / 2] : this.place(this.map.picked);
    if (this.map.picked === null) return this.map.pin(this.at(x, y, 1e6));
    let [best, least] = [this.map.picked, Infinity];
    for (let i = 0; i < this.map.count; i++) {
      const [u, v] = this.place(i);
      const ahead = (u - x) * dx + (v - y) * dy;
      const aside = Math.abs((u - x) * dy) + Math.abs((v - y) * dx);
      const far = ahead + 2 * aside;
      if (i !== this.map.picked && ahead > 0.5 && aside <= 2 * ahead && far < least) [best, least] = [i, far];
    }
    this.map.pin(best);
  }

  go(points) {
    const from = this.points.slice();
    const start = performance.now();
    const step = (now) => {
      const t = calm.matches ? 1 : Math.min(1, (now - start) / 450);
      const eased = t * t * (3 - 2 * t);
      this.points = points.map((p, n) => from[n] + (p - from[n]) * eased);
      this.draw();
      if (t < 1) requestAnimationFrame(step);
    };
    requestAnimationFrame(step);
  }
}

class FeatureMap {
  constructor(figure) {
    this.data = JSON.parse(figure.querySelector("script").textContent);
    this.atlas = figure.querySelector("img.atlas");
    Object.assign(this, { count: this.data.labels.length, side: this.data.side, only: null, picked: null, pinned: false });
    this.plane = 0;
    this.pictures = this.data.pictures;
    this.coloring = this.data.colorings[0];
    this.panes = this.data.runs.map((run, number) => new Pane(this, run, number));
    this.legend = el("ul", { className: "legend" });
    this.card = el("div", { className: "card" });
    this.card.setAttribute("aria-live", "polite");
    const maps = el("div", { className: "panes" }, ...this.panes.map((pane) => pane.box));
    const stage = figure.querySelector(".stage");
    stage.replaceChildren(this.tools(), this.legend, el("div", { className: "beside" }, maps, this.card));
    stage.classList.toggle("several", this.panes.length > 1);
    this.shade();
    this.listColors();
    this.tell();
    const again = () => (this.shade(), this.draw());
    addEventListener("themechange", again);
    matchMedia("(prefers-color-scheme: dark)").addEventListener("change", again);
    if (!this.atlas.complete) this.atlas.addEventListener("load", () => (this.draw(), this.tell()));
  }

  shade() {
    // Colors of the page are resolved by an element that has them.
    const probe = el("i");
    this.card.append(probe);
    const found = (name) => ((probe.style.color = `var(--${name})`), getComputedStyle(probe).color);
    this.shades = Object.fromEntries(["ink", "ground", "wrong", "accent"].map((name) => [name, found(name)]));
    probe.remove();
  }

  choice(title, names, chosen, call) {
    const name = `choice-${FeatureMap.made++}`;
    const options = names.map((text, n) => {
      const input = el("input", { type: "radio", name, checked: n === chosen });
      input.addEventListener("change", () => call(n));
      return el("label", {}, input, el("span", {}, text));
    });
    return el("fieldset", { className: "choice" }, el("legend", {}, title), ...options);
  }

  tools() {
    const bar = el("div", { className: "tools" });
    const { colorings, runs } = this.data;
    if (colorings.length > 1) {
      bar.append(this.choice("Color", colorings.map((c) => c.name), 0, (n) => {
        Object.assign(this, { coloring: colorings[n], only: null });
        this.listColors();
        this.draw();
      }));
    }
    const planes = runs[0].planes.map((plane) => plane.name);
    if (planes.length > 1) {
      bar.append(this.choice("Map", planes, 0, (n) => {
        this.plane = n;
        this.panes.forEach((pane) => pane.go(pane.run.planes[n].points));
      }));
    }
    bar.append(this.choice("Show", ["dots", "pictures"], Number(this.pictures), (n) => {
      this.pictures = n === 1;
      this.draw();
    }));
    const button = (text, title, factor) => {
      const made = el("button", { type: "button", title }, text);
      made.setAttribute("aria-label", title);
      made.addEventListener("click", () => this.panes.forEach((pane) => pane.zoomAt(factor)));
      return made;
    };
    const zooms = [button("+", "zoom in", 1.5), button("−", "zoom out", 1 / 1.5), button("↺", "whole map", 0)];
    bar.append(el("div", { className: "zooms" }, ...zooms));
    return bar;
  }

  listColors() {
    const { names, colors } = this.coloring;
    const sizes = names.map(() => 0);
    this.values(0).forEach((value) => sizes[value]++);
    this.legend.replaceChildren(...names.map((name, n) => {
      const swatch = el("span", { className: "swatch" });
      swatch.style.background = colors[n];
      const button = el("button", { type: "button", title: `${sizes[n]} ${this.data.kind}` }, swatch, name);
      button.setAttribute("aria-pressed", "false");
      button.addEventListener("click", () => {
        this.only = this.only === n ? null : n;
        [...this.legend.querySelectorAll("button")].forEach((b, m) => b.setAttribute("aria-pressed", this.only === m));
        this.draw();
      });
      return el("li", {}, button);
    }));
  }

  values(run) {
    return this.coloring.values[run] ?? this.coloring.values[0];
  }

  extent(run) {
    return run.planes[this.plane].extent;
  }

  other(i, j) {
    const { labels } = this.data;
    return labels[i] >= 0 && labels[j] >= 0 && labels[i] !== labels[j];
  }

  draw() {
    this.panes.forEach((pane) => pane.draw());
  }

  pick(i) {
    if (this.pinned || i === this.picked) return;
    this.picked = i;
    this.tell();
    this.draw();
  }

  pin(i) {
    this.picked = i;
    this.pinned = i !== null;
    this.tell();
    this.draw();
  }

  paint(g, i, x, y, size) {
    const { side, columns } = this.data;
    g.imageSmoothingEnabled = side > 32;
    if (!this.atlas.naturalWidth) return;
    g.drawImage(this.atlas, (i % columns) * side, Math.floor(i / columns) * side, side, side, x, y, size, size);
  }

  thumb(i) {
    const { side, names } = this.data;
    const canvas = el("canvas", { width: side, height: side, title: names[i] });
    canvas.classList.toggle("pixels", side <= 32);
    this.paint(canvas.getContext("2d"), i, 0, 0, side);
    return canvas;
  }

  className(i) {
    return this.data.classes[this.data.labels[i]];
  }

  tell() {
    const i = this.picked;
    if (i === null) {
      const said = `Point at a dot, tap it, or go with the arrow keys: its picture and its nearest ${this.data.kind} appear here.`;
      this.card.replaceChildren(el("p", { className: "soft" }, said));
      return;
    }
    const head = el("div", { className: "head" }, this.thumb(i), el("div", {}, el("b", {}, this.className(i) ?? ""),
      el("small", {}, this.data.names[i]), this.pinned ? el("small", {}, "pinned · click again to let go") : ""));
    this.card.replaceChildren(head, ...this.data.runs.map((run) => this.judged(run, i)));
  }

  judged(run, i) {
    const part = el("div", { className: "judged" });
    if (run.label) part.append(el("b", {}, run.label));
    if (run.predicted) {
      const right = run.predicted[i] === this.data.labels[i];
      const text = `${right ? "" : "✗ "}kNN says ${this.data.classes[run.predicted[i]]}, ${run.sure[i]} % of the votes`;
      part.append(el("p", { className: right ? "" : "wrong" }, text));
    }
    const row = el("div", { className: "row" });
    run.near[i].forEach((j, n) => {
      const wrong = this.other(i, j);
      const button = el("button", { type: "button", className: wrong ? "wrong" : "", title: this.data.names[j] },
        this.thumb(j), el("small", {}, `${wrong ? "✗ " : ""}${this.className(j) ?? ""}`),
        el("small", { className: "soft" }, run.similarity[i][n].toFixed(2)));
      button.addEventListener("click", () => this.pin(j));
      row.append(button);
    });
    part.append(row);
    return part;
  }
}
FeatureMap.made = 0;

document.querySelectorAll("figure.feature-map").forEach((figure) => new FeatureMap(figure));
