// Swagger UI has its dark colours under this class.
const dark = matchMedia("(prefers-color-scheme: dark)");
const colour = () => document.documentElement.classList.toggle("dark-mode", dark.matches);
colour();
dark.addEventListener("change", colour);

readDocument()
  .then((spec) =>
    SwaggerUIBundle({
      spec,
      domNode: place,
      deepLinking: true,
      // Neither looks the document up elsewhere nor asks anybody whether it is valid.
      validatorUrl: null,
      queryConfigEnabled: false,
      displayRequestDuration: true,
      docExpansion: "list",
      defaultModelsExpandDepth: 0,
      tryItOutEnabled: false,
    }),
  )
  .catch(tell);
