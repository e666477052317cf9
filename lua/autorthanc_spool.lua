-- Drops a marker file into the spool whenever a study or a series has become stable in Orthanc, and whenever somebody
-- presses the button for one, which sets the user metadata BUTTON (docs/button.md).
--
-- Orthanc runs its events one after the other in one thread, and while a callback runs, no authenticated HTTP request
-- is answered. So this script writes one small file and does nothing else: no HTTP, no waiting, no looking at tags.
-- For the button alone it asks Orthanc's database, within the process: which metadata there are, and to remove one.
-- A marker names the resource by Orthanc's ID alone; nothing in it identifies a patient.
--
-- The file is written into tmp/ and renamed into incoming/, so that nobody ever reads half a marker. The spool is named
-- by AUTORTHANC_SPOOL_PATH in Orthanc's environment. Written in the common subset of Lua 5.1 to 5.4.

-- Orthanc loads each script twice, into two Lua states, and may restart within a second: the address of a fresh table
-- makes the names in tmp/ differ between states, the counter makes them differ within one.
local state = tostring({}):gsub('[^%w]', '')
local counter = 0

-- The first number that Orthanc leaves to its users. Where a site has given it a name (UserMetadata), it is the site's
-- own and shows by that name, so it is never taken for a press of the button.
local BUTTON = '1024'

local function complain(what, fix)
  print('autorthanc_spool: ' .. what .. '; ' .. fix .. '.')
end

-- A full disk shows only when the buffer is written out, so close() has to be asked as well as write().
local function write_file(path, text)
  local file, reason = io.open(path, 'wb')
  if not file then
    return nil, reason
  end
  local written, write_reason = file:write(text)
  local closed, close_reason = file:close()
  if written and closed then
    return true
  end
  os.remove(path)
  return nil, write_reason or close_reason or 'the file could not be written'
end

-- Returns whether the marker is there. `event` is the one of Orthanc; `source` and `prefix` say who asked.
local function drop(level, id, event, source, prefix)
  local spool = os.getenv('AUTORTHANC_SPOOL_PATH')
  if not spool or spool == '' then
    complain('AUTORTHANC_SPOOL_PATH is not set for Orthanc, so no marker was written for ' .. level .. ' ' .. tostring(id),
      'set it to the spool folder in the environment that Orthanc is started with')
    return false
  end
  local now = os.time()
  local lower = level:lower()
  local name = os.date('!%Y%m%dT%H%M%SZ', now) .. '-' .. prefix .. lower .. '-' .. id .. '.json'
  local text = string.format(
    '{"format": 1, "event": "%s%s", "level": "%s", "id": "%s", "source": "%s", "time": "%s"}\n',
    event, level, level, id, source, os.date('!%Y-%m-%dT%H:%M:%SZ', now))
  counter = counter + 1
  local scratch = spool .. '/tmp/.' .. state .. '-' .. counter .. '-' .. name
  local done, reason = write_file(scratch, text)
  if done then
    -- This overwrites a marker of the same name. That is one of the same resource, source and second which nobody has
    -- claimed yet, so both ask for the same.
    done, reason = os.rename(scratch, spool .. '/incoming/' .. name)
    if not done then
      os.remove(scratch)
    end
  end
  if not done then
    complain('no marker could be written for ' .. lower .. ' ' .. id .. ': ' .. tostring(reason),
      'see that ' .. spool .. ' has the folders tmp and incoming, on one file system, writable for Orthanc, with free space')
  end
  return done
end

local function is_id(level, id)
  local group = '%x%x%x%x%x%x%x%x'
  if type(id) == 'string' and id:match('^' .. group .. string.rep('%-' .. group, 4) .. '$') then
    return true
  end
  complain('the ID of a ' .. level .. ' is not one of Orthanc', 'check the version of Orthanc')
  return false
end

local function became_stable(level, id)
  if is_id(level, id) and not drop(level, id, 'Stable', 'lua', '') then
    print('autorthanc_spool: the processor finds the study by reconciliation when it runs.')
  end
end

-- Orthanc reports any change of metadata and attachments, but not which: viewers store theirs as well. The button's
-- is removed once its marker is written, so that each press sets it again, and no other change looks like a press.
local function was_updated(level, id)
  if not is_id(level, id) then
    return
  end
  local path = (level == 'Study' and '/studies/' or '/series/') .. id .. '/metadata'
  local names = RestApiGet(path)
  if type(names) ~= 'string' or not names:find('"' .. BUTTON .. '"', 1, true) then
    return
  end
  if drop(level, id, 'Updated', 'button', 'button-') then
    RestApiDelete(path .. '/' .. BUTTON)
  else
    print('autorthanc_spool: press the button again then.')
  end
end

-- Orthanc survives an error that is a string; any other error value would end its process. Nothing may get out of here.
local function guarded(what, call, ...)
  local ok, reason = pcall(call, ...)
  if not ok then
    pcall(print, 'autorthanc_spool: ' .. what .. ' failed: ' ..
      (type(reason) == 'string' and reason or 'with an error that is a ' .. type(reason)))
  end
end

-- A callback of the same name in a script that was loaded before would be silenced without a word. It is called after
-- our marker is written, whatever it does.
local earlier = {
  OnStableStudy = OnStableStudy,
  OnStableSeries = OnStableSeries,
  OnUpdatedStudy = OnUpdatedStudy,
  OnUpdatedSeries = OnUpdatedSeries,
}

local function then_earlier(name, ...)
  if earlier[name] then
    guarded('the earlier ' .. name, earlier[name], ...)
  end
end

function OnStableStudy(id, tags, metadata)
  guarded('writing the marker of a study', became_stable, 'Study', id)
  then_earlier('OnStableStudy', id, tags, metadata)
end

function OnStableSeries(id, tags, metadata)
  guarded('writing the marker of a series', became_stable, 'Series', id)
  then_earlier('OnStableSeries', id, tags, metadata)
end

function OnUpdatedStudy(id, tags, metadata)
  guarded('looking for a press of the button on a study', was_updated, 'Study', id)
  then_earlier('OnUpdatedStudy', id, tags, metadata)
end

function OnUpdatedSeries(id, tags, metadata)
  guarded('looking for a press of the button on a series', was_updated, 'Series', id)
  then_earlier('OnUpdatedSeries', id, tags, metadata)
end
