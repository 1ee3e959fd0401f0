"""The API's document as pages: `/docs` and `/redoc`, with all that they load from here.

`vendored/` holds the published builds of Swagger UI and Redoc with their licences; `renew.sh` there brings newer ones.
"""
