//! The sizes of a V-JEPA 2 network, Hugging Face's `VJEPA2Config`.

use crate::fields::Fields;
use crate::preprocess::{MAX_FRAMES, MAX_SIDE_PX};

/// The most tokens that a clip may be cut into.
const MAX_TOKENS: i64 = 1 << 18;
/// The widest layer.
const MAX_WIDTH: i64 = 65_536;
/// The pooler's inner layers are this many times wider than the network, whatever `mlp_ratio` is.
pub(super) const POOLER_MLP_RATIO: i64 = 4;
/// Colour channels.
pub(super) const CHANNELS: i64 = 3;

/// The sizes of a V-JEPA 2 encoder and pooler. Read from a file they are positive and fit one another.
#[derive(Debug, Clone, PartialEq)]
pub struct VJepa2Config {
    /// Side of a patch, in pixels.
    pub patch_px: i64,
    /// Side of a frame, in pixels; a multiple of the patch.
    pub crop_px: i64,
    /// Frames of a clip in training; other lengths work.
    pub frames_per_clip: i64,
    /// Frames of a token.
    pub tubelet_frames: i64,
    /// Width of a token.
    pub hidden: i64,
    /// Attention heads; they divide the width.
    pub heads: i64,
    /// Blocks of the encoder.
    pub layers: i64,
    /// Inner width of the encoder's MLPs.
    pub mlp_hidden: i64,
    /// Self-attention blocks of the pooler.
    pub pooler_layers: i64,
    /// Added to variances in layer norms.
    pub layer_norm_eps: f64,
    /// Whether the encoder's query, key and value layers have biases.
    pub qkv_bias: bool,
}

impl VJepa2Config {
    /// A ViT-B/16 (86 M parameters); not a released V-JEPA 2, but of its family.
    pub fn base() -> Self {
        Self::sized(768, 12, 12)
    }

    /// ViT-L/16 (304 M parameters), Hugging Face's default.
    pub fn large() -> Self {
        Self::sized(1024, 16, 24)
    }

    fn sized(hidden: i64, heads: i64, layers: i64) -> Self {
        VJepa2Config {
            patch_px: 16,
            crop_px: 256,
            frames_per_clip: 64,
            tubelet_frames: 2,
            hidden,
            heads,
            layers,
            mlp_hidden: 4 * hidden,
            pooler_layers: 3,
            layer_norm_eps: 1e-6,
            qkv_bias: true,
        }
    }

    pub(crate) fn read(fields: &Fields<'_>) -> Self {
        let default = Self::large();
        let mut config = VJepa2Config {
            patch_px: fields.int("patch_size", default.patch_px, 1..=256),
            crop_px: fields.int("crop_size", default.crop_px, 1..=MAX_SIDE_PX),
            frames_per_clip: fields.int(
                "frames_per_clip",
                default.frames_per_clip,
                1..=MAX_FRAMES as i64,
            ),
            tubelet_frames: fields.int("tubelet_size", default.tubelet_frames, 1..=64),
            hidden: fields.int("hidden_size", default.hidden, 1..=8192),
            heads: fields.int("num_attention_heads", default.heads, 1..=1024),
            layers: fields.int("num_hidden_layers", default.layers, 1..=256),
            mlp_hidden: 0,
            pooler_layers: fields.int("num_pooler_layers", default.pooler_layers, 0..=64),
            layer_norm_eps: fields.number(
                "layer_norm_eps",
                default.layer_norm_eps,
                |n| n > 0.0 && n < 1.0,
                "a number between 0 and 1",
            ),
            qkv_bias: fields.boolean("qkv_bias", default.qkv_bias),
        };
        let hidden = config.hidden as f64;
        let fits = |ratio: f64| (1.0..=MAX_WIDTH as f64).contains(&(hidden * ratio).floor());
        let allowed = format!("a ratio that makes hidden_size * mlp_ratio 1 to {MAX_WIDTH}");
        let ratio = fields.number("mlp_ratio", 4.0, fits, &allowed);
        config.mlp_hidden = (hidden * ratio).floor() as i64;
        fields.int("in_chans", CHANNELS, CHANNELS..=CHANNELS);
        fields.word("hidden_act", 0, &["gelu"]);
        config.check(fields);
        config
    }

    /// Notes sizes that do not fit one another.
    fn check(&self, fields: &Fields<'_>) {
        if self.hidden % self.heads != 0 {
            let problem = format!(
                "found {}, allowed: a multiple of num_attention_heads ({})",
                self.hidden, self.heads
            );
            fields.note("hidden_size", problem);
        } else if self.head_width() < 6 || self.head_width() % 2 != 0 {
            let problem = format!(
                "found {}, which makes heads {} wide, allowed: heads of an even width of at least 6",
                self.heads,
                self.head_width()
            );
            fields.note("num_attention_heads", problem);
        }
        if self.crop_px % self.patch_px != 0 {
            let problem = format!(
                "found {}, allowed: a multiple of patch_size ({})",
                self.crop_px, self.patch_px
            );
            fields.note("crop_size", problem);
        }
    }

    /// Notes that clips of so many frames would be cut into too many tokens.
    pub(crate) fn check_tokens(&self, fields: &Fields<'_>, frames: usize) {
        let tokens = self.tokens(frames);
        if tokens > MAX_TOKENS {
            let problem = format!(
                "a clip of {frames} frames would be cut into {tokens} tokens, more tokens than {MAX_TOKENS} (fewer frames, a \
                 smaller crop_size or larger patches make fewer)"
            );
            fields.note("patch_size", problem);
        }
    }

    /// Patches along a side of a frame.
    pub fn grid(&self) -> i64 {
        self.crop_px / self.patch_px
    }

    /// Width of one attention head.
    pub fn head_width(&self) -> i64 {
        self.hidden / self.heads
    }

    /// Tokens of a clip of so many frames. Frames beyond the last whole tube are dropped; a clip shorter than a tube is
    /// repeated to as many tubes as it has frames.
    pub fn tokens(&self, frames: usize) -> i64 {
        let frames = i64::try_from(frames).unwrap_or(i64::MAX);
        let tubes = if frames < self.tubelet_frames {
            frames
        } else {
            frames / self.tubelet_frames
        };
        tubes.saturating_mul(self.grid() * self.grid())
    }

    /// Floating-point operations of the encoder for one clip of so many frames, a multiply-add counted as two:
    /// `2 N p h + L (8 N h^2 + 4 N h m + 4 N^2 h)` with N tokens, p numbers a patch, h the width and m the MLP's.
    pub fn encoder_flops(&self, frames: usize) -> u64 {
        let n = self.tokens(frames) as f64;
        let (h, m) = (self.hidden as f64, self.mlp_hidden as f64);
        let patch = (CHANNELS * self.tubelet_frames * self.patch_px * self.patch_px) as f64;
        (2.0 * n * patch * h + self.layers as f64 * block_flops(n, h, m)) as u64
    }

    /// Floating-point operations of the attentive pooler for one clip of so many frames.
    pub fn pooler_flops(&self, frames: usize) -> u64 {
        let n = self.tokens(frames) as f64;
        let h = self.hidden as f64;
        let m = POOLER_MLP_RATIO as f64 * h;
        // The cross layer: keys and values of all tokens, everything else of the one query.
        let cross = 4.0 * n * h * h + 2.0 * h * h + 4.0 * n * h + 4.0 * h * m;
        (self.pooler_layers as f64 * block_flops(n, h, m) + cross) as u64
    }
}

impl VJepa2Config {
    /// Numbers in the encoder's weights.
    pub fn encoder_parameters(&self) -> u64 {
        let (h, m) = (self.hidden as f64, self.mlp_hidden as f64);
        let patch = (CHANNELS * self.tubelet_frames * self.patch_px * self.patch_px) as f64;
        let bias = if self.qkv_bias { 3.0 * h } else { 0.0 };
        let block = 4.0 * h * h + h + bias + 2.0 * h * m + m + h + 4.0 * h;
        (patch * h + h + self.layers as f64 * block + 2.0 * h) as u64
    }

    /// Numbers in the attentive pooler's weights.
    pub fn pooler_parameters(&self) -> u64 {
        let h = self.hidden as f64;
        let m = POOLER_MLP_RATIO as f64 * h;
        let (norms, mlp) = (4.0 * h, 2.0 * h * m + m + h);
        let cross = 3.0 * (h * h + h) + norms + mlp;
        let block = 4.0 * (h * h + h) + norms + mlp;
        (h + cross + self.pooler_layers as f64 * block) as u64
    }
}

/// One pre-norm block. In f64, so that sizes no machine computes saturate instead of overflowing.
fn block_flops(n: f64, h: f64, m: f64) -> f64 {
    8.0 * n * h * h + 4.0 * n * h * m + 4.0 * n * n * h
}
