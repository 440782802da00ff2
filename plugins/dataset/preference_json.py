"""Preference pairs in the published form."""

from interleave import Preference, datasets

from .llava_json import LlavaJson


@datasets.register("preference_json")
class PreferenceJson(LlavaJson):
    """A JSON list or JSONL of records with a question, ``chosen`` and ``rejected``, and ``image`` or ``video``.

    Its options are those of ``llava_json``.
    """

    def __getitem__(self, index: int) -> Preference:
        return Preference.from_record(self.all[index], self.media, self.kinds)
