"""Vision encoder -> projector -> scatter into text -> language model. Knows neither modalities nor devices."""

from collections.abc import Mapping, Sequence

import torch
from torch import Tensor, nn

from ..core.types import Batch, BatchVisual
from ..interfaces.model_parts import LanguageModel, ModalityAdapter, Projector, VisionEncoder
from .loss import document_losses, next_token_loss
from .matrix_loss import MatrixLoss, chunked_loss


def scatter(text: Tensor, visual_positions: Tensor, features: Tensor) -> Tensor:
    """Write features (n, D) over token embeddings (B, T, D).

    visual_positions: (n,) indices into the flattened (B * T) tokens. Raises ValueError where the two counts differ,
    which means that an adapter's ``merge`` did not make what its layout promised.
    """
    if len(visual_positions) != len(features):
        raise ValueError(
            f"the text has {len(visual_positions)} slots but the vision side made {len(features)} features"
        )
    flat = text.flatten(0, 1)  # (B * T, D)
    return flat.index_copy(0, visual_positions, features.to(text.dtype)).view_as(text)  # (B, T, D)


class Modalities(nn.ModuleDict):
    """The adapters of all modalities, by name.

    One call serves a batch, so that every rank makes as many calls as any other, whatever its batches show: where the
    adapters' weights are sharded, a call is a collective.
    """

    def forward(self, seen: Tensor, visuals: Sequence[BatchVisual]) -> Tensor:
        """Projected features (V, P, D) of a batch's views -> what stands for its visuals in their order, (n, D).

        The result depends on the vision tower and on every adapter's weights, also where the batch shows nothing. Ranks
        reduce gradients parameter by parameter. One whose batch shows no picture would have no gradient for the vision
        tower, skip its reduction, and leave the other ranks waiting for ever; so it has a gradient of zeros.
        """
        idle = [p.flatten()[:0].view(0, seen.shape[-1]).to(seen.dtype) for p in self.parameters()]
        counts = [visual.views for visual in visuals]
        # a batch without visuals has one blank view, which belongs to nothing and is left out here
        views = seen[: sum(counts)].split(counts)
        merged = []
        for visual, seen_of_it in zip(visuals, views, strict=True):
            merged.append(self.adapter(visual.kind).merge(seen_of_it, visual.meta))
        return torch.cat([seen[:0].flatten(0, 1), *idle, *merged])

    def adapter(self, kind: str) -> ModalityAdapter:
        """The modality of that name."""
        adapter = self[kind]
        assert isinstance(adapter, ModalityAdapter)
        return adapter


class InterleavedModel(nn.Module):
    """One model for every modality: whatever is shown becomes features at the positions that the renderer left.

    Shapes: V views of S x S pixels, P tokens a view after the projector, B rows of T tokens, D the width of the
    language model.
    """

    mean: Tensor
    std: Tensor

    def __init__(
        self,
        vision: VisionEncoder,
        projector: Projector,
        llm: LanguageModel,
        adapters: Mapping[str, ModalityAdapter],
    ) -> None:
        """adapters: by the modality's name, which is the ``kind`` of the visuals in a batch."""
        super().__init__()
        self.vision_encoder = vision
        self.projector = projector
        self.llm = llm
        self.modality = Modalities(adapters)
        self.matrix_loss: MatrixLoss = chunked_loss
        self.vision_chunks = 1  # how many chunks the views of a batch are encoded in, whatever their number
        for name in ("mean", "std"):
            values = torch.tensor(getattr(vision.spec, name)).view(3, 1, 1)  # one a channel
            self.register_buffer(name, values, persistent=False)  # the spec says them; no checkpoint does

    def encode_views(self, pixel_values: Tensor) -> Tensor:
        """Normalise, encode and project, in ``vision_chunks`` chunks: (V, 3, S, S) uint8 -> (V, P, D)."""
        encoded: list[Tensor] = []
        for chunk in pixel_values.tensor_split(self.vision_chunks):
            # where there are fewer views than chunks one is encoded for nothing: every rank must run every chunk, and
            # its empty remainder keeps the chunk in the graph of the backward pass
            shown = chunk if len(chunk) else pixel_values[:1]
            encoded.append(self._encode_chunk(shown)[: len(chunk)])
        return torch.cat(encoded) if len(encoded) > 1 else encoded[0]

    def _encode_chunk(self, pixel_values: Tensor) -> Tensor:
        """(V, 3, S, S) uint8 -> (V, P, D)"""
        normal = (pixel_values / 255).sub_(self.mean).div_(self.std).to(self.mean.dtype)  # (V, 3, S, S), one copy
        projected: Tensor = self.projector(self.vision_encoder(normal))
        return projected

    def filled(self) -> None:
        """Tell the parts that try themselves that their weights are in place. Raises InputError where one does not
        pass. Of a sharded model a collective that each rank must call."""
        for part in self.children():
            tell = getattr(part, "filled", None)
            if tell is not None:
                tell()

    def adapter(self, kind: str) -> ModalityAdapter:
        """The modality of that name."""
        return self.modality.adapter(kind)

    def embed(self, batch: Batch, features: Sequence[Tensor] | None = None) -> Tensor:
        """Token embeddings with every visual in its place, (B, T, D).

        features: of the batch's visuals, (n, D) each, where they are known already; None encodes them.
        """
        text = self.llm.embed(batch.input_ids)  # (B, T, D)
        nothing = text.new_zeros(0, text.shape[-1])  # there may be no visual, and cat needs a tensor
        joined = self.features(batch) if features is None else torch.cat([*features, nothing])  # (n, D)
        return scatter(text, batch.visual_positions, joined)

    def features(self, batch: Batch) -> Tensor:
        """What stands at ``batch.visual_positions``, (n, D)."""
        features: Tensor = self.modality(self.encode_views(batch.pixel_values), batch.visuals)
        return features

    def hidden(self, batch: Batch) -> Tensor:
        """Hidden states after the language model's last norm, (B, T, D)."""
        hidden: Tensor = self.llm(self.embed(batch), batch.position_ids, batch.segments)
        return hidden

    def forward(self, batch: Batch) -> Tensor:
        """Logits of every position, (B, T, vocabulary). Training never makes them: see ``loss``."""
        return self.llm.head(self.hidden(batch))

    def loss(self, batch: Batch) -> tuple[Tensor, Tensor]:
        """The sum of token losses and the number of supervised tokens, two scalars.

        The caller decides over what to average: over one batch, or over all ranks and micro-batches of a step.
        """
        llm = self.llm
        return next_token_loss(self.hidden(batch), batch.targets, llm.head, llm.head_matrix(), self.matrix_loss)

    def document_losses(self, batch: Batch) -> tuple[Tensor, Tensor]:
        """Sums of token losses and numbers of supervised tokens by document, (B, documents + 1) each.

        Column 0 is the padding.
        """
        return document_losses(self.hidden(batch), batch.targets, self.llm.head, self.llm.head_matrix())
