"""Lets SGLang import on a torch without CUDA; loaded at start-up by a `.pth` file.

The torchvision wheel carries compiled operators for CUDA. Next to a CPU torch they do not load,
so the operators are never declared, and torchvision's own module that adds shape functions to
them fails on import. SGLang imports torchvision for images, which a text model never uses:
declaring the operators (without any implementation) just before that module runs is enough.
"""

import importlib.abc
import sys

MODULE = "torchvision._meta_registrations"
SIGNATURE = "(Tensor dets, Tensor scores, float iou_threshold) -> Tensor"


class DeclareOperators(importlib.abc.MetaPathFinder):
    """Declares the operators when torchvision asks for them, once, and finds nothing itself."""

    library = None

    def find_spec(self, name, path=None, target=None):
        if name == MODULE and self.library is None:
            import torch

            # Kept alive: a library that is collected takes its declarations along.
            self.library = torch.library.Library("torchvision", "FRAGMENT")
            for operator in ("nms", "qnms"):
                if not hasattr(torch.ops.torchvision, operator):
                    self.library.define(operator + SIGNATURE)
        return None


if not any(isinstance(finder, DeclareOperators) for finder in sys.meta_path):
    sys.meta_path.insert(0, DeclareOperators())
