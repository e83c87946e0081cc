// Light or dark: as the browser says, until the button of the page is pressed.
const root = document.documentElement;
const dark = () => (root.dataset.theme ?? (matchMedia("(prefers-color-scheme: dark)").matches ? "dark" : "light")) === "dark";
document.querySelectorAll("button.theme").forEach((button) => {
  button.hidden = false;
  button.addEventListener("click", () => {
    root.dataset.theme = dark() ? "light" : "dark";
    dispatchEvent(new Event("themechange"));
  });
});
