"""Makes the four model folders that `stage2.py` compares with: networks of a wanted size, with drawn weights.

    python make_models.py OUT [--hidden 768] [--layers 12] [--heads 12] [--frames 16] [--size 128]

OUT/{vfx,simcam,rotation} have a linear head and OUT/low_quality an attentive one with three layers before it (`num_pooler_layers`),
over one backbone in OUT/backbone. What a network costs does not depend on its weights, and the scores of two builds can be compared
whatever they are. The default is as wide and deep as a ViT-B; 48 frames of 256² would take 25 times as long as 16 of 128².
"""

import argparse
import json
from pathlib import Path

import torch
from safetensors.torch import save_file
from transformers import VJEPA2Config, VJEPA2ForVideoClassification

MEAN, STD = [0.485, 0.456, 0.406], [0.229, 0.224, 0.225]


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("out", type=Path)
    for name, value in [("hidden", 768), ("layers", 12), ("heads", 12), ("frames", 16), ("size", 128), ("seed", 1)]:
        parser.add_argument(f"--{name}", type=int, default=value)
    options = parser.parse_args()
    torch.manual_seed(options.seed)
    sizes = dict(
        crop_size=options.size,
        patch_size=16,
        tubelet_size=2,
        frames_per_clip=options.frames,
        hidden_size=options.hidden,
        num_attention_heads=options.heads,
        num_hidden_layers=options.layers,
        mlp_ratio=4.0,
        layer_norm_eps=1e-6,
        qkv_bias=True,
        num_pooler_layers=3,
    )
    predictor = dict(pred_hidden_size=48, pred_num_attention_heads=4, pred_num_hidden_layers=1)
    model = VJEPA2ForVideoClassification(VJEPA2Config(**sizes, **predictor, num_labels=2))
    tensors = {name: tensor.contiguous() for name, tensor in model.state_dict().items()}
    encoder = {name.removeprefix("vjepa2."): tensor for name, tensor in tensors.items() if name.startswith("vjepa2.encoder.")}
    attentive = {name: tensor for name, tensor in tensors.items() if not name.startswith("vjepa2.")}

    def save(name: str, tensors: dict[str, torch.Tensor]) -> None:
        (options.out / name).mkdir(parents=True, exist_ok=True)
        save_file(tensors, options.out / name / "model.safetensors")

    save("backbone", encoder)
    preprocess = dict(frames=options.frames, size=options.size, resize_short=options.size, mean=MEAN, std=STD)
    for name in ["vfx", "simcam", "rotation", "low_quality"]:
        head = "attentive" if name == "low_quality" else "linear"
        # Drawn as the trained ones are spread, not next to nothing: a difference between two builds shall be seen.
        linear = {"head.linear.weight": torch.randn(2, options.hidden) / options.hidden**0.5, "head.linear.bias": torch.zeros(2)}
        save(name, attentive if head == "attentive" else linear)
        config = dict(model_type="vjepa2", id2label={"0": "good", "1": name}, **sizes, hidden_act="gelu", head=head)
        config |= dict(preprocess=preprocess, backbone="../backbone/model.safetensors")
        (options.out / name / "config.json").write_text(json.dumps(config, indent=2))


if __name__ == "__main__":
    main()
