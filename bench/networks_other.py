"""Transformers of MiniLM's size over tokens and patches, an LSTM and a tabular network in PyTorch. Every nonlinearity is a
module of its own, used once, as SHAP and Captum ask for."""
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

    def forward(self, x):
        query, key, value = (self.heads(f(x)) for f in (self.query, self.key, self.value))
        weights = self.softmax(query @ key.transpose(2, 3) * self.shape[3] ** -0.5)
        return self.out((weights @ value).transpose(1, 2).reshape(-1, self.shape[1], WIDTH))


class Block(nn.Module):
    """BERT's: normalisation after the sums."""

    def __init__(self, *sizes):
        super().__init__()
        self.attention = Attention(*sizes)
        self.norm1, self.norm2 = nn.LayerNorm(WIDTH), nn.LayerNorm(WIDTH)
        self.feed = nn.Sequential(nn.Linear(WIDTH, 4 * WIDTH), nn.GELU(),
                                  nn.Linear(4 * WIDTH, WIDTH))

    def forward(self, x):
        x = self.norm1(x + self.attention(x))
        return self.norm2(x + self.feed(x))


class BlockAfterNorm(Block):
    """ViT's: normalisation before what is added."""

    def forward(self, x):
        x = x + self.attention(self.norm1(x))
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


class Recurrent(nn.Module):
    """Takes [N, 50, 32]; the last state goes to a linear layer."""

    def __init__(self):
        super().__init__()
        self.lstm = nn.LSTM(FEATURES, STATE, batch_first=True)
        self.head = nn.Linear(STATE, CLASSES)

    def forward(self, x):
        return self.head(self.lstm(x)[0][:, -1])


def tabular():
    return nn.Sequential(nn.Linear(30, 128), nn.ReLU(), nn.Linear(128, 64), nn.ReLU(),
                         nn.Linear(64, 2))


# Shapes of a sample, without the batch axis.
SHAPES = {"transformer": (TOKENS, WIDTH), "vit": (3, IMAGE, IMAGE), "lstm": (STEPS, FEATURES),
          "mlp": (30,)}
