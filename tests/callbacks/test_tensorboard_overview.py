"""What TensorBoard opens with, read back as TensorBoard reads it."""

from tensorboard.backend.event_processing.event_accumulator import EventAccumulator
from tensorboard.plugins.custom_scalar import layout_pb2
from tensorboard.plugins.hparams.plugin_data_pb2 import HParamsPluginData

from rlft.cli import main
from tests.support.hand_made import REPO

OPTIONS = ("--model.advantage.gamma=0.9", "--seed_everything=3", "--trainer.max_epochs=1")


def test_charts_settings_and_report(tmp_path):
    configs = [f"--config={REPO / 'configs' / name}.yaml" for name in ("gae_ppo", "smoke")]
    assert main(["fit", *configs, *OPTIONS, f"--log_dir={tmp_path}"]) == 0
    (folder,) = tmp_path.glob("*/version_0")
    events = EventAccumulator(str(folder)).Reload()
    assert [event.value for event in events.Scalars("eval/success_rate")]  # the charts have something to show

    metadata = events.SummaryMetadata("custom_scalars__config__")
    assert metadata.plugin_data.plugin_name == "custom_scalars"
    layout = layout_pb2.Layout.FromString(events.Tensors("custom_scalars__config__")[0].tensor_proto.string_val[0])
    charts = {chart.title: chart for chart in layout.category[0].chart}
    (margin,) = charts["success and its 95% interval"].margin.series
    assert (margin.value, margin.lower, margin.upper) == tuple(
        f"eval/success_rate{end}" for end in ("", "_low", "_high")
    )
    scalars = events.Tags()["scalars"]
    assert all(tag in scalars for tag in (margin.value, margin.lower, margin.upper))

    content = events.summary_metadata["_hparams_/session_start_info"].plugin_data.content
    settings = HParamsPluginData.FromString(content).session_start_info.hparams
    assert settings["model.advantage.gamma"].number_value == 0.9
    assert settings["seed_everything"].number_value == 3
    assert settings["model.update"].string_value.endswith("PPO")

    (text,) = events.Tensors("report/text_summary")
    assert text.tensor_proto.string_val[0].decode() == (folder / "report.md").read_text()
