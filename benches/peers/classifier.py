"""Seconds that transformers takes for a clip, on the CPU, over the networks of classifier_bench.rs with drawn weights.

    pip install torch==2.11.0 transformers==5.24.0
    python benches/peers/classifier.py [threads] [f32|bf16] [starter|base|tiny] [batch] [runs] [eager]

As in clipsieve, a call takes 8-bit frames and gives probabilities. `eager` has attention written out in plain PyTorch instead of SDPA.
"""

import sys
import time

import torch
from transformers import VJEPA2Config, VJEPA2ForVideoClassification

SIZES = {
    "starter": dict(crop_size=128, frames_per_clip=16, hidden_size=192, num_attention_heads=3, num_hidden_layers=6, num_pooler_layers=1),
    "base": dict(crop_size=256, frames_per_clip=16, hidden_size=768, num_attention_heads=12, num_hidden_layers=12, num_pooler_layers=3),
    "tiny": dict(crop_size=64, frames_per_clip=8, hidden_size=48, num_attention_heads=4, num_hidden_layers=2, num_pooler_layers=2),
}


def main():
    args = dict(enumerate(sys.argv[1:]))
    threads, precision, name = int(args.get(0, 1)), args.get(1, "f32"), args.get(2, "starter")
    batch, runs = int(args.get(3, 1)), int(args.get(4, 5))
    label = "plain PyTorch" if args.get(5) == "eager" else "transformers"
    torch.set_num_threads(threads)
    torch.manual_seed(0)
    sizes = SIZES[name]
    # The predictor of the self-supervised training is not run; it is kept as small as the configuration allows.
    config = VJEPA2Config(**sizes, num_labels=2, pred_hidden_size=48, pred_num_attention_heads=4, pred_num_hidden_layers=1)
    model = VJEPA2ForVideoClassification(config).eval()
    if label == "plain PyTorch":
        model.set_attn_implementation("eager")
    dtype = {"f32": torch.float32, "bf16": torch.bfloat16}[precision]
    model = model.to(dtype)
    side, frames = sizes["crop_size"], sizes["frames_per_clip"]
    clips = torch.randint(0, 256, (batch, frames, side, side, 3), dtype=torch.uint8)
    mean = torch.tensor([0.485, 0.456, 0.406]).view(3, 1, 1)
    std = torch.tensor([0.229, 0.224, 0.225]).view(3, 1, 1)

    @torch.inference_mode()
    def scores():
        pixels = ((clips.permute(0, 1, 4, 2, 3).float() / 255 - mean) / std).to(dtype)
        return model(pixel_values_videos=pixels).logits.float().softmax(-1)

    scores()
    times, cpu = [], []
    for _ in range(runs):
        started, before = time.perf_counter(), time.process_time()
        scores()
        times.append((time.perf_counter() - started) / batch)
        cpu.append((time.process_time() - before) / batch)
    times.sort()
    cpu.sort()
    print(
        f"{label} {name} {precision} {threads} threads, batch {batch}: best {times[0] * 1e3:.1f} ms, "
        f"median {times[runs // 2] * 1e3:.1f} ms, of CPU best {cpu[0] * 1e3:.1f} ms, median {cpu[runs // 2] * 1e3:.1f} ms a clip"
    )


if __name__ == "__main__":
    main()
