"""A LoRA resolver for vLLM: what is asked as `NAME@v7` or `NAME@production` is fetched from emmetd the first time.

vLLM finds it by its entry point, `emmetd_vllm.plugin:register`; nothing has to be imported.
"""
