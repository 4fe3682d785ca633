"""An embedded draft/target pair: small Llamas that solve chains of arithmetic, step by step."""

from atts_tiny.paths import bank_path, draft_path, target_path

__all__ = ["bank_path", "draft_path", "target_path"]
