"""In-process PyTorch backend: any Hugging Face causal model, CPU or CUDA."""
