// The graph of a minibatch: switches for the types of edges; a node shows its neighbors.
document.querySelectorAll("figure.minibatch").forEach((figure) => {
  const svg = figure.querySelector("svg.batch");
  const edges = [...svg.querySelectorAll(".edge")];
  const nodes = [...svg.querySelectorAll(".node")];
  let pinned = null;

  figure.querySelectorAll(".switches input").forEach((input) => {
    input.addEventListener("change", () => {
      for (const edge of edges) if (edge.dataset.kind === input.value) edge.classList.toggle("off", !input.checked);
      if (pinned) point(pinned);
    });
  });

  // A node stands for itself and for its sample.
  function point(node) {
    const own = new Set([node.dataset.node, node.dataset.sample]);
    const lit = new Set(own);
    for (const edge of edges) {
      const { a, b } = edge.dataset;
      const touches = !edge.classList.contains("off") && (own.has(a) || own.has(b));
      edge.classList.toggle("lit", touches);
      if (touches) lit.add(a).add(b);
    }
    for (const other of nodes) {
      other.classList.toggle("lit", other === node || lit.has(other.dataset.node) || lit.has(other.dataset.sample));
    }
    svg.classList.add("pointing");
  }

  function rest() {
    if (pinned) point(pinned);
    else svg.classList.remove("pointing");
  }

  for (const node of nodes) {
    node.addEventListener("pointerenter", () => point(node));
    node.addEventListener("pointerleave", rest);
    node.addEventListener("focus", () => point(node));
    node.addEventListener("blur", rest);
    node.addEventListener("click", (e) => {
      e.stopPropagation();
      pinned = pinned === node ? null : node;
      rest();
    });
  }
  svg.addEventListener("click", () => {
    pinned = null;
    rest();
  });
});
