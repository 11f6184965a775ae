"""Files on disk and on a hub: atomic writes, safetensors, loading, saving, pushing."""
