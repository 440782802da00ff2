"""All weights of a model that may be sharded, for comparing them."""

from torch import Tensor, nn
from torch.distributed.checkpoint.state_dict import StateDictOptions, get_model_state_dict


def full_state(model: nn.Module) -> dict[str, Tensor]:
    """All weights on the CPU, gathered from every rank: a collective that each rank must call; rank 0 gets the dict,
    the others an empty one."""
    options = StateDictOptions(full_state_dict=True, cpu_offload=True)
    state = get_model_state_dict(model, options=options)
    # a module's extra state is no weight
    return {name: tensor for name, tensor in state.items() if isinstance(tensor, Tensor)}
