/* Axes and positions along them. */
#include "base/axis.h"

int ox_axis_front(int64_t axis, int rank)
{
    axis += axis < 0 ? rank : 0;
    return axis < 0 || axis >= rank ? -1 : (int)axis;
}

int64_t ox_clamp(int64_t number, int64_t low, int64_t high)
{
    return number < low ? low : number > high ? high : number;
}

ox_run ox_run_of(int64_t size, int64_t start, int64_t end, int64_t step)
{
    int64_t low = step < 0 ? -1 : 0, high = step < 0 ? size - 1 : size;
    start = ox_clamp(start + (start < 0 ? size : 0), 0, high);
    end = ox_clamp(end + (end < 0 ? size : 0), low, high);
    int64_t span = step > 0 ? end - start : start - end, each = step > 0 ? step : -step;
    int64_t count = size == 0 || span <= 0 ? 0 : (span - 1) / each + 1;
    return (ox_run){.first = start, .step = step, .count = count};
}
