"""A transformer of MiniLM's size, an LSTM and a tabular network in PyTorch. Every nonlinearity is a
module of its own, used once, as SHAP and Captum ask for."""
from torch import nn

TOKENS, WIDTH, HEADS, LAYERS, CLASSES = 128, 384, 12, 6, 20
STEPS, FEATURES, STATE = 50, 32, 128


class Attention(nn.Module):
    def __init__(self):
        super().__init__()
        self.query, self.key, self.value, self.out = (nn.Linear(WIDTH, WIDTH) for _ in range(4))
        self.softmax = nn.Softmax(dim=-1)

    def heads(self, x):
        return x.reshape(-1, TOKENS, HEADS, WIDTH // HEADS).transpose(1, 2)

    def forward(self, x):
        query, key, value = (self.heads(f(x)) for f in (self.query, self.key, self.value))
        weights = self.softmax(query @ key.transpose(2, 3) * (WIDTH // HEADS) ** -0.5)
        return self.out((weights @ value).transpose(1, 2).reshape(-1, TOKENS, WIDTH))


class Block(nn.Module):
    """BERT's: normalisation after the sums."""

    def __init__(self):
        super().__init__()
        self.attention = Attention()
        self.norm1, self.norm2 = nn.LayerNorm(WIDTH), nn.LayerNorm(WIDTH)
        self.feed = nn.Sequential(nn.Linear(WIDTH, 4 * WIDTH), nn.GELU(),
                                  nn.Linear(4 * WIDTH, WIDTH))

    def forward(self, x):
        x = self.norm1(x + self.attention(x))
        return self.norm2(x + self.feed(x))


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
SHAPES = {"transformer": (TOKENS, WIDTH), "lstm": (STEPS, FEATURES), "mlp": (30,)}
