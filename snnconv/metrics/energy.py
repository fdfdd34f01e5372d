"""Energy, from operations: accumulates for spikes, multiply-accumulates for analog values.

``synaptic = AC * SOPs`` (LM-HT, Table 1); ``total = synaptic + MAC * first layer`` (MSAT, section
5.4). The first layer is counted once, because it is computed once, or at every step; the ANN's
energy is ``MAC * MACs``. For an input of frames the first layer is computed for every frame that is
shown, and silent pixels count, too, because a pixel is an analog value: several events in one
number. Layers behind the first that analog values feed count as MACs at every step in both totals.
So do functions that no neuron stands for, by kind: MACs, additions at AC, and look-ups in a table.
The ANN computes them once. Steps that some neurons take before the T steps count, too.

Shape:
    None: it reads the figures of ``synops``.

Reference:
    Rathi & Roy 2020; Horowitz 2014: 45 nm, 32-bit float, 0.9 pJ and 4.6 pJ;
    a look-up is a word of 32 bits out of a memory of 8 KiB, 10 pJ.

Deviations:
    None. These figures contain no memory traffic, which dominates in real hardware.
"""

from snnconv.metrics.base import MJ_PER_PJ, Figures, Metric


class Energy(Metric):
    """Multiplies operations by their energies."""

    needs = ("synops",)
    counted = False
    valued = False

    def figures(self, found: Figures) -> Figures:
        """Return millijoules per sample, and ratios to the ANN."""
        context, operations = self.context, found.totals
        ac, T = context.energy_ac_pj * MJ_PER_PJ, context.timesteps
        ann = context.energy_mj(context.analysis.work_count.total)
        synaptic = ac * operations["sops_per_sample"]
        by_step = [
            None
            if sops is None
            else ac * sops + context.energy_mj(context.work_until(t, context.passes(t)))
            for t, sops in enumerate(operations["sops_per_sample_steps"], start=1)
        ]
        total = by_step[-1]  # T has an answer
        assert total is not None
        every_step = synaptic + context.energy_mj(context.work_until(T, context.lead + T))
        return Figures(
            {
                "energy_synaptic_mj": synaptic,
                "energy_total_mj": total,
                "energy_total_every_step_mj": every_step,
                "energy_total_mj_steps": by_step,
                "energy_ann_mj": ann,
                "energy_synaptic_ratio": synaptic / ann,
                "energy_total_ratio": total / ann,
                "energy_total_every_step_ratio": every_step / ann,
            }
        )


METRIC = Energy
