// Light or dark, before anything is drawn. "" is what the system says.
(function () {
  let theme = "";
  try {
    theme = localStorage.getItem("theme") || "";
  } catch (error) {
    // a browser without storage uses what the system says
  }
  if (theme) document.documentElement.dataset.theme = theme;
})();
