/* The theme hides a page until it is set up; by then the browser has given up on `autofocus`. */
document.addEventListener("alpine:initialized", () => setTimeout(() => {
  if (document.activeElement === document.body) document.querySelector("[autofocus]")?.focus();
}));
