-- refresh: give a worker new figures and put it into the sets that they name, and into no other.
-- KEYS  1 lease hash   2 worker hash   3 load zset
-- ARGV  1 worker   2 prefix of the eligible zsets   3 its room as JSON; '' takes it out of everything
-- returns 1
local old = room_of(KEYS[2])
local room = ARGV[3] ~= '' and cjson.decode(ARGV[3])
for class in pairs(old and old.classes or {}) do
  if not room or not room.classes[class] then redis.call('ZREM', ARGV[2] .. class, ARGV[1]) end
end
if room then
  redis.call('HSET', KEYS[2], 'room', ARGV[3])
  settle(ARGV[1], room, KEYS[1], KEYS[3], ARGV[2])
else
  redis.call('HDEL', KEYS[2], 'room')
  redis.call('ZREM', KEYS[3], ARGV[1])
end
return 1
