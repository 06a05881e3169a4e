-- settle: what the other scripts share; it is loaded in front of each of them and does nothing alone.
-- A worker's hash has a field `room`, JSON that Python computes (rooms.py):
--   incarnation  of the worker, for leases that are written for it
--   capacity  leases that it may hold     base      load before anything of ours
--   per_held  load of each held lease     per_mb    load of each reserved MiB
--   gpus      [[uuid, MiB that others leave free], …]
--   classes   {class: MiB that its jobs need on one GPU}: the eligible sets that it may be in
-- Held and reserved are counted from the leases themselves, so no counter can drift from them.
local RANK = {given = 1, claimed = 2, revoked = 3, ended = 4}

local function holdings(lease_key)
  local held, reserved = 0, {}
  for _, text in ipairs(redis.call('HVALS', lease_key)) do
    local lease = cjson.decode(text)
    if lease.state ~= 'ended' then
      held = held + 1
      for _, uuid in ipairs(lease.gpus or {}) do
        reserved[uuid] = (reserved[uuid] or 0) + (lease.vram_mb or 0)
      end
    end
  end
  return held, reserved
end

local function most_free(room, reserved)
  local most = 0
  for _, gpu in ipairs(room.gpus) do most = math.max(most, gpu[2] - (reserved[gpu[1]] or 0)) end
  return most
end

local function settle(worker, room, lease_key, load_key, eligible_prefix)
  local held, reserved = holdings(lease_key)
  local load = room.base + room.per_held * held
  for _, mb in pairs(reserved) do load = load + room.per_mb * mb end
  load = string.format('%.6f', math.max(0, math.min(1, load)))
  redis.call('ZADD', load_key, load, worker)
  local free = most_free(room, reserved)
  for class, need in pairs(room.classes) do
    if held < room.capacity and need <= free then
      redis.call('ZADD', eligible_prefix .. class, load, worker)
    else
      redis.call('ZREM', eligible_prefix .. class, worker)
    end
  end
end

local function room_of(worker_key)
  local text = redis.call('HGET', worker_key, 'room')
  return text and cjson.decode(text)
end
