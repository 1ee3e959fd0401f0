"""The site of documentation: `make docs` builds it from the pages in docs/, the README and the API's document.

Pages stay where people read them on a code host. What only the site needs (its menu, pages made of docs/openapi.json
and of the notebooks) is made here, in a folder of its own, and built by Sphinx with MyST. Nothing is loaded from
elsewhere.
"""
