"""convert.py GGUF OUT: the model of a GGUF file as two folders, OUT/target and OUT/draft.

Weights become float32, so that engines can be held against each other to the last digits. The
draft is the target's first layers: a weaker model with the same tokenizer.
"""

import sys
from pathlib import Path

import torch
from transformers import AutoModelForCausalLM, AutoTokenizer, LlamaConfig, LlamaForCausalLM

DRAFT_LAYERS = 24


def main(file: Path, out: Path) -> None:
    from transformers import GgufConfig

    source = {"gguf_file": file.name}
    tokenizer = AutoTokenizer.from_pretrained(file.parent, **source)
    read = AutoModelForCausalLM.from_pretrained(
        file.parent,
        **source,
        dtype=torch.float32,
        quantization_config=GgufConfig(dequantize=True),
    )
    state = read.state_dict()
    settings = read.config.to_dict()
    for name in ("quantization_config", "architectures", "model_type", "dtype", "torch_dtype"):
        settings.pop(name, None)
    for name, layers in (("target", settings["num_hidden_layers"]), ("draft", DRAFT_LAYERS)):
        model = LlamaForCausalLM(LlamaConfig(**settings | {"num_hidden_layers": layers}))
        missing, unused = model.load_state_dict(state, strict=False)
        dropped = {key for key in unused if int(key.split(".")[2]) < layers}
        if missing or dropped:
            sys.exit(f"{name}: weights {missing or sorted(dropped)} do not fit")
        model.save_pretrained(out / name)
        tokenizer.save_pretrained(out / name)
        print(f"{out / name}: {layers} layers, {model.num_parameters():,} parameters")


if __name__ == "__main__":
    main(Path(sys.argv[1]), Path(sys.argv[2]))
