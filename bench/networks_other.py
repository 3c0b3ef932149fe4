"""Transformers of MiniLM's size over tokens and patches, a decoder like GPT-2, recurrent networks and a tabular one in PyTorch.
Every nonlinearity is a module of its own, used once, as SHAP and Captum ask for."""
import torch
from torch import nn

TOKENS, WIDTH, HEADS, LAYERS, CLASSES = 128, 384, 12, 6, 20
IMAGE, PATCH, PATCHES, PATCH_HEADS = 224, 16, 196, 6
STEPS, FEATURES, STATE = 50, 32, 128


class Attention(nn.Module):
    def __init__(self, tokens=TOKENS, heads=HEADS):
        super().__init__()
        self.shape = -1, tokens, heads, WIDTH // heads
        self.query, self.key, self.value, self.out = (nn.Linear(WIDTH, WIDTH) for _ in range(4))
        self.softmax = nn.Softmax(dim=-1)

    def heads(self, x):
        return x.reshape(*self.shape).transpose(1, 2)

    def forward(self, x, hidden=None):
        query, key, value = (self.heads(f(x)) for f in (self.query, self.key, self.value))
        scores = query @ key.transpose(2, 3) * self.shape[3] ** -0.5
        weights = self.softmax(scores if hidden is None else scores + hidden)
        return self.out((weights @ value).transpose(1, 2).reshape(-1, self.shape[1], WIDTH))


class Block(nn.Module):
    """BERT's: normalisation after the sums."""

    def __init__(self, *sizes):
        super().__init__()
        self.attention = Attention(*sizes)
        self.norm1, self.norm2 = nn.LayerNorm(WIDTH), nn.LayerNorm(WIDTH)
        self.feed = nn.Sequential(nn.Linear(WIDTH, 4 * WIDTH), nn.GELU(),
                                  nn.Linear(4 * WIDTH, WIDTH))

    def forward(self, x, hidden=None):
        x = self.norm1(x + self.attention(x, hidden))
        return self.norm2(x + self.feed(x))


class BlockAfterNorm(Block):
    """ViT's and GPT-2's: normalisation before what is added."""

    def forward(self, x, hidden=None):
        x = x + self.attention(self.norm1(x), hidden)
        return x + self.feed(self.norm2(x))


class VisionTransformer(nn.Module):
    """Takes images [N, 3, 224, 224], cut into patches of 16 x 16 behind a token for the class."""

    def __init__(self):
        super().__init__()
        self.patches = nn.Conv2d(3, WIDTH, PATCH, PATCH)
        self.token = nn.Parameter(torch.randn(1, 1, WIDTH) / 50)
        self.places = nn.Parameter(torch.randn(1, PATCHES + 1, WIDTH) / 50)
        self.blocks = nn.Sequential(*(BlockAfterNorm(PATCHES + 1, PATCH_HEADS)
                                      for _ in range(LAYERS)))
        self.norm = nn.LayerNorm(WIDTH)
        self.head = nn.Linear(WIDTH, CLASSES)

    def forward(self, x):
        x = self.patches(x).flatten(2).transpose(1, 2)
        x = torch.cat([self.token.expand(x.shape[0], -1, -1), x], 1) + self.places
        return self.head(self.norm(self.blocks(x))[:, 0])


class Transformer(nn.Module):
    """Takes embeddings [N, 128, 384]."""

    def __init__(self):
        super().__init__()
        self.blocks = nn.Sequential(*(Block() for _ in range(LAYERS)))
        self.head = nn.Linear(WIDTH, CLASSES)

    def forward(self, x):
        return self.head(self.blocks(x).mean(1))


class Masked(Transformer):
    """The same with a mask [N, 128] of the tokens that are there. It has no peers: bench/transformers.py
    measures it."""

    def forward(self, x, mask):
        hidden = (1 - mask[:, None, None, :]) * -1e9
        for block in self.blocks:
            x = block(x, hidden)
        return self.head(x.mean(1))


class Decoder(nn.Module):
    """Takes embeddings [N, 128, 384]; a token sees those before it, the last one decides."""

    def __init__(self):
        super().__init__()
        self.blocks = nn.ModuleList(BlockAfterNorm() for _ in range(LAYERS))
        self.register_buffer("hidden", torch.full((TOKENS, TOKENS), -1e9).triu(1))
        self.norm, self.head = nn.LayerNorm(WIDTH), nn.Linear(WIDTH, CLASSES)

    def forward(self, x):
        for block in self.blocks:
            x = block(x, self.hidden)
        return self.head(self.norm(x)[:, -1])


class Recurrent(nn.Module):
    """Takes [N, steps, 32]; the last state goes to a linear layer."""

    def __init__(self, kind=nn.LSTM):
        super().__init__()
        self.layer = kind(FEATURES, STATE, batch_first=True)
        self.head = nn.Linear(STATE, CLASSES)

    def forward(self, x):
        return self.head(self.layer(x)[0][:, -1])


def gated():
    return Recurrent(nn.GRU)


def tabular():
    return nn.Sequential(nn.Linear(30, 128), nn.ReLU(), nn.Linear(128, 64), nn.ReLU(),
                         nn.Linear(64, 2))


# Shapes of a sample, without the batch axis.
SHAPES = {"transformer": (TOKENS, WIDTH), "transformer_masked": (TOKENS, WIDTH), "gpt2": (TOKENS, WIDTH),
          "vit": (3, IMAGE, IMAGE), "mlp": (30,),
          **{f"{kind}{'' if steps == STEPS else f'_{steps}'}": (steps, FEATURES)
             for kind in ("lstm", "gru") for steps in (STEPS, 200, 1000)}}
NETWORKS = {"transformer": Transformer, "transformer_masked": Masked, "gpt2": Decoder,
            "vit": VisionTransformer, "mlp": tabular,
            **{name: gated if name.startswith("gru") else Recurrent for name in SHAPES
               if name.startswith(("lstm", "gru"))}}
