"""Vision encoder -> projector -> scatter into text -> language model. Knows neither modalities nor devices."""

from collections.abc import Mapping, Sequence

import torch
from torch import Tensor, nn

from ..core.types import Batch
from ..interfaces.model_parts import LanguageModel, ModalityAdapter, Projector, VisionEncoder
from .loss import document_losses, next_token_loss


def scatter(text: Tensor, slots: Tensor, features: Tensor) -> Tensor:
    """Write features (n, D) over text (B, T, D) at ``slots`` (n,), indices into the flattened tokens."""
    if len(slots) != len(features):
        raise ValueError(f"the text has {len(slots)} slots but the vision side made {len(features)} features")
    return text.flatten(0, 1).index_copy(0, slots, features.to(text.dtype)).view_as(text)


class InterleavedModel(nn.Module):
    """One model for every modality: whatever is shown becomes features in the slots that the renderer left."""

    mean: Tensor
    std: Tensor

    def __init__(
        self,
        vision: VisionEncoder,
        projector: Projector,
        llm: LanguageModel,
        adapters: Mapping[str, ModalityAdapter],
    ) -> None:
        super().__init__()
        self.vision_encoder, self.projector, self.llm = vision, projector, llm
        self.modality = nn.ModuleDict(adapters)
        for name in ("mean", "std"):
            values = torch.tensor(getattr(vision.spec, name)).view(3, 1, 1)
            self.register_buffer(name, values, persistent=False)

    def encode_views(self, pixels: Tensor) -> Tensor:
        """(V, 3, S, S) uint8 -> (V, P, D)"""
        normal = ((pixels / 255 - self.mean) / self.std).to(self.mean.dtype)
        projected: Tensor = self.projector(self.vision_encoder(normal))
        return projected

    def adapter(self, kind: str) -> ModalityAdapter:
        adapter = self.modality[kind]
        assert isinstance(adapter, ModalityAdapter)
        return adapter

    def embed(self, batch: Batch, features: Sequence[Tensor] | None = None) -> Tensor:
        """Token embeddings with every visual in its place: (B, T, D). ``features``: of the visuals, where known."""
        if features is None:
            features = self.features(batch)
        text = self.llm.embed(batch.input_ids)
        return scatter(text, batch.visual_positions, torch.cat([*features, text.new_zeros(0, text.shape[-1])]))

    def features(self, batch: Batch) -> list[Tensor]:
        """What stands in the slots of each visual, (n, D) each, in the order of ``batch.visual_positions``."""
        seen = self.encode_views(batch.pixel_values)
        counts = [shown.views for shown in batch.shown]
        views = seen[: sum(counts)].split(counts)
        made = [self.adapter(s.kind).merge(v, s.meta) for s, v in zip(batch.shown, views, strict=True)]
        return [self._nothing(seen), *made]

    def _nothing(self, seen: Tensor) -> Tensor:
        """(0, D), in the graph of the vision tower and of every adapter's weights, whatever the batch shows: ranks meet
        in the gradients of all of them."""
        idle = [p.flatten()[:0].view(0, seen.shape[-1]).to(seen.dtype) for p in self.modality.parameters()]
        return torch.cat([seen[:0].flatten(0, 1), *idle])

    def hidden(self, batch: Batch) -> Tensor:
        """(B, T, D), after the language model's last norm."""
        out: Tensor = self.llm(self.embed(batch), batch.position_ids, batch.document_ids)
        return out

    def forward(self, batch: Batch) -> Tensor:
        """Logits (B, T, vocabulary)."""
        out: Tensor = self.llm.head(self.hidden(batch))
        return out

    def loss(self, batch: Batch) -> tuple[Tensor, Tensor]:
        """Sum of token losses and number of tokens: the caller decides over what to average."""
        return next_token_loss(self.hidden(batch), batch.labels, self.llm.head)

    def document_losses(self, batch: Batch) -> tuple[Tensor, Tensor]:
        """Sums of token losses and numbers of supervised tokens, (B, documents + 1): of column 0 is the padding."""
        return document_losses(self.hidden(batch), batch, self.llm.head)
