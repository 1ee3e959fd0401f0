"""What the server answers, as pydantic models. Fields that a newer server adds are kept and harm nothing."""
