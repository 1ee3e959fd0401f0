readDocument()
  .then((spec) =>
    Redoc.init(
      spec,
      { hideDownloadButton: true, requiredPropsFirst: true, sortTagsAlphabetically: false, scrollYOffset: "nav" },
      place,
      (error) => error && tell(error),
    ),
  )
  .catch(tell);
