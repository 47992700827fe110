"""REINFORCE with a baseline (Williams 1992), of torchrl's own parts: its loss, its returns, its distribution."""

import torch
from gymnasium import spaces
from pydantic import Field
from tensordict.nn import ProbabilisticTensorDictModule, ProbabilisticTensorDictSequential, TensorDictModule
from torch import nn
from torchrl.objectives import ReinforceLoss, ValueEstimators

from rl2cli.algorithms.base import BaseAlgorithm
from rl2cli.errors import NonFiniteError, UsageError
from rl2cli.keys import as_tensordict
from rl2cli.options import Options


class Head(nn.Module):
    """A linear layer over one of rl2's networks, for any number of batch dimensions: torchrl has [N, T, *obs]."""

    def __init__(self, network, out_features, observation_space):
        super().__init__()
        self.network, self.layer = network, nn.Linear(network.out_features, out_features)
        self.dimensions = len(observation_space.shape)

    def forward(self, observation):
        batch = observation.shape[: observation.ndim - self.dimensions]
        rows = observation.reshape(-1, *observation.shape[len(batch) :])  # [B, *obs]
        return self.layer(self.network(rows)).unflatten(0, batch)


class Reinforce(BaseAlgorithm):
    """Monte-Carlo policy gradient for Discrete actions, one step per rollout; a learned value is the baseline."""

    class Options(Options):
        rollout_length: int = Field(64, ge=1, description="Steps of every environment between two updates.")
        learning_rate: float = Field(3e-3, gt=0.0, description="Adam's step size.")
        gamma: float = Field(0.99, ge=0.0, le=1.0, description="Discount per frame.")

    def __init__(self, options, task):
        super().__init__(options, task)
        if not isinstance(task.action_space, spaces.Discrete) or task.has_action_mask:
            raise UsageError("reinforce takes Discrete actions without a mask", hint='name = "ppo" takes every kind')
        if isinstance(task.observation_space, spaces.Dict):
            raise UsageError("reinforce takes no Dict observation", hint="observations = [...] picks one key of it")
        self.rollout_length = options.rollout_length
        self.policy = Head(task.make_network(0), int(task.action_space.n), task.observation_space)
        self.critic = Head(task.make_critic_network(0), 1, task.observation_space)
        self.to(task.device)
        self.__dict__["loss"] = self._make_loss()  # no child: its networks are ours, and saved once
        self.optimizer = torch.optim.Adam(self.parameters(), options.learning_rate)

    def _make_loss(self):
        actor = ProbabilisticTensorDictSequential(
            TensorDictModule(self.policy, ["observation"], ["logits"]),
            ProbabilisticTensorDictModule(["logits"], ["action"], distribution_class=torch.distributions.Categorical),
        )
        critic = TensorDictModule(self.critic, ["observation"], ["state_value"])
        loss = ReinforceLoss(actor, critic, functional=False)
        # lambda 1: Monte-Carlo returns
        returns = {"gamma": self.options.gamma, "lmbda": 1.0, "average_gae": True, "deactivate_vmap": True}
        loss.make_value_estimator(ValueEstimators.GAE, **returns)
        return loss.to(self.task.device)

    @torch.inference_mode()
    def act(self, observation, explore=None, action_mask=None):
        logits = self.policy(observation)
        if explore is None:
            return {"action": logits.argmax(-1)}
        return {"action": torch.multinomial(logits.softmax(-1), 1, generator=explore).squeeze(-1)}

    def update(self, trajectories, frames):
        data = as_tensordict(trajectories).transpose(0, 1)  # [N, T]: torchrl has time last
        self.loss.value_estimator(data)  # adds advantage and value_target
        losses = self.loss(data[data["valid"].squeeze(-1)])
        total = losses["loss_actor"] + losses["loss_value"]
        if not total.isfinite():
            raise NonFiniteError("the loss of reinforce is not finite")
        self.optimizer.zero_grad()
        total.backward()
        self.optimizer.step()
        return {"loss/policy": losses["loss_actor"].item(), "loss/value": losses["loss_value"].item()}

    def get_extra_state(self):
        return self.optimizer.state_dict()

    def set_extra_state(self, state):
        self.optimizer.load_state_dict(state)
