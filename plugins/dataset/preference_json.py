"""Preference pairs in the published form, for training with DPO."""

from interleave import Preference, datasets, preference_from_llava

from .llava_json import LlavaJson


@datasets.register("preference_json")
class PreferenceJson(LlavaJson):
    """A JSON list or JSONL of records with a question, ``chosen`` and ``rejected``, and ``image`` or ``video``.

    Its options are those of ``llava_json``.
    """

    def __getitem__(self, index: int) -> Preference:
        return preference_from_llava(self.all[index], self.media, self.modalities)
