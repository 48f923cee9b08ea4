import groovy.json.JsonOutput
import groovy.json.JsonSlurper
import groovy.json.JsonSlurperClassic
import java.nio.file.FileSystems
import java.security.MessageDigest
import java.util.concurrent.TimeUnit
import org.codehaus.groovy.control.CompilerConfiguration

/**
 * One build of a job, as Jenkins would run it on this machine: groovy -cp FOLDER Run.groovy REQUEST.json
 *
 * The request says which job, its Jenkinsfile, parameters and causes, the remote of git, the credentials, the secrets
 * that nobody may see, the environment of the agents, and who answers what is asked. The home has jobs/JOB/NUMBER with
 * `build.json`, `log` and `archive`, and workspace/JOB. The exit code is 0 whatever became of the build, and another
 * one where Jenkins would not even have begun. A request to `check` has Jenkinsfiles, of which the faults are printed.
 */
class Failed extends RuntimeException { Failed(String message) { super(message) } }
class Aborted extends RuntimeException { Aborted(String message) { super(message) } }

/** What a Jenkinsfile is compiled to: every step is one of the runner's. */
abstract class Jenkinsfile extends Script {
    def methodMissing(String name, Object given) { binding.getVariable('runner').call(name, given as List) }
}

/** Writes down what stands in a section, in its order, instead of doing it. */
class Section {
    Map<String, List> found = [:]

    def methodMissing(String name, Object given) { found.get(name, []) << (given as List) }

    static Map<String, List> of(Closure block) {
        Closure copy = block.rehydrate(new Section(), block.owner, block.thisObject)
        copy.resolveStrategy = Closure.DELEGATE_FIRST
        copy.call()
        copy.delegate.found
    }
}

class Env {
    final Runner runner

    Env(Runner runner) { this.runner = runner }

    def getProperty(String name) { runner.environment()[name] }

    void setProperty(String name, Object value) { runner.globals[name] = value as String }
}

/** Where the code comes from. It can be handed to `checkout`, and the sandbox lets no script look into it. */
class Scm { }

class CurrentBuild {
    final Runner runner
    boolean keepLog
    String displayName, description

    CurrentBuild(Runner runner) { this.runner = runner }

    String getCurrentResult() { runner.record.result }

    List<Map> getBuildCauses(String type) { runner.request.causes.findAll { it._class == type } }
}

class Runner {
    static final WORST = ['SUCCESS', 'UNSTABLE', 'FAILURE', 'ABORTED']

    final Map request, record
    final File home, folder, log
    final List<String> stages = []
    final List<Map> withs = []
    final List<Long> deadlines = []
    final Map<String, String> globals = [:]
    final CurrentBuild build = new CurrentBuild(this)
    File workspace
    String agent, container, previous
    Closure pipeline
    Script script

    Runner(Map request) {
        this.request = request
        home = new File(request.home)
        folder = new File(home, "jobs/$request.job/$request.number")
        folder.mkdirs()
        log = new File(folder, 'log')
        def last = request.number > 1 ? read(request.job, request.number - 1) : null
        previous = last?.result
        record = [job: request.job, number: request.number, parameters: [:], result: 'SUCCESS', executed: [], artifacts: [:],
                  copied: [], started: [], inputs: [], mails: [], credentials: [], agents: [], locks: [], tests: [:],
                  reports: [:], leaks: [], permission: []]
    }

    // Running

    void run(Script script) {
        this.script = script
        script.binding.with {
            setVariable('runner', this)
            setVariable('env', new Env(this))
            setVariable('params', record.parameters)
            setVariable('currentBuild', build)
            setVariable('scm', new Scm())
            setVariable('docker', [image: { name -> [inside: { options, body -> inside(name, options, body) }] }])
            ['any', 'none'].each { setVariable(it, it) }
        }
        script.run()
        def sections = Section.of(pipeline)
        sections.parameters?.each { given ->
            Section.of(given[0]).string.each { record.parameters[it[0].name] = it[0].defaultValue ?: '' }
        }
        def undeclared = request.parameters.keySet() - record.parameters.keySet()
        if (undeclared) throw new IllegalArgumentException("$request.job has no parameter ${undeclared.join(', ')}")
        record.parameters.putAll(request.parameters)
        sections = Section.of(pipeline) // again, with parameters in it
        def options = sections.options ? Section.of(sections.options[0][0]) : [:]
        record.options = options.keySet() - 'logRotator'
        record.permission = options.copyArtifactPermission*.getAt(0) ?: []
        within(options) {
            onAgent(sections.agent[0][0]) {
                attempt { stages(sections.stages[0][0]) }
                post(sections.post)
            }
        }
        record.displayName = build.displayName
        record.description = build.description
        record.keep = build.keepLog
        save()
    }

    private void stages(Closure block) {
        Closure copy = block.rehydrate(new Stages(this), block.owner, block.thisObject)
        copy.resolveStrategy = Closure.DELEGATE_FIRST
        copy.call()
    }

    void stage(String title, Closure block) {
        if (record.result in ['FAILURE', 'ABORTED']) return
        stages << title
        say("[$title]")
        def sections = Section.of(block)
        def when = sections.when ? Section.of(sections.when[0][0]).expression[0][0] : null
        if (!when || steps(when)) {
            within(sections.options ? Section.of(sections.options[0][0]) : [:]) {
                onAgent(sections.agent ? sections.agent[0][0] : 'inherited') {
                    attempt { sections.steps ? steps(sections.steps[0][0]) : stages(sections.stages[0][0]) }
                    post(sections.post)
                }
            }
        }
        stages.pop()
    }

    /** Do what stands in a block, without the sections around it: what is called there is of the script. */
    private Object steps(Closure block) { block.rehydrate(script, script, script)() }

    /** Do it, and be the worse for it where it fails. */
    private void attempt(Closure body) {
        try {
            body()
        } catch (Failed | Aborted error) {
            say("${error.class.simpleName}: $error.message")
            worsen(error instanceof Failed ? 'FAILURE' : 'ABORTED')
        }
    }

    private void worsen(String result) { record.result = WORST[Math.max(WORST.indexOf(record.result), WORST.indexOf(result))] }

    private void post(List given) {
        if (!given) return
        def conditions = Section.of(given[0][0])
        Rules.POST.findAll { conditions[it] }.each { name ->
            String now = record.result
            def holds = [
                always: true, cleanup: true, changed: now != previous, unsuccessful: now != 'SUCCESS',
                fixed: now == 'SUCCESS' && previous in ['FAILURE', 'UNSTABLE'],
                regression: previous == 'SUCCESS' && now != 'SUCCESS',
            ].get(name, now == name.toUpperCase())
            if (holds) {
                stages << name
                attempt { steps(conditions[name][0][0]) }
                stages.pop()
            }
        }
    }

    /** Options that hold for a while. */
    private void within(Map options, Closure body) {
        options.lock?.each { record.locks << [resource: it[0].resource as String, agent: agent] }
        int before = deadlines.size()
        options.timeout?.each { deadlines << deadline(it[0]) }
        body()
        while (deadlines.size() > before) deadlines.pop()
    }

    private static long deadline(Map given) {
        System.nanoTime() + TimeUnit.valueOf(given.unit ?: 'MINUTES').toNanos(given.time)
    }

    private void onAgent(Object given, Closure body) {
        if (given in ['none', 'inherited']) {
            body()
            return
        }
        def (oldAgent, oldWorkspace) = [agent, workspace]
        agent = given == 'any' ? 'any' : Section.of(given).label[0][0]
        if (!(agent in request.agents)) throw new IllegalStateException("no agent has the label $agent")
        workspace = new File(home, "workspace/$request.job")
        workspace.mkdirs()
        temporary().mkdirs()
        record.agents << agent
        body()
        (agent, workspace) = [oldAgent, oldWorkspace]
    }

    private File temporary() { new File("$workspace@tmp") }

    Map<String, String> environment() {
        def own = [JOB_NAME: "$request.folder/$request.job", BUILD_NUMBER: request.number,
                   BUILD_URL: "https://jenkins.example.com/job/$request.folder/job/$request.job/$request.number/"]
        if (workspace) own += [WORKSPACE: workspace.path, NODE_NAME: agent]
        def all = request.environment + own + record.parameters + globals
        withs.each { all += it }
        all.collectEntries { name, value -> [name as String, value as String] }
    }

    // Steps

    /** A step, or what is given to one, with its arguments by name. */
    def call(String name, List given) {
        Closure body = given && given[-1] instanceof Closure ? given[-1] : null
        if (body) given = given.init()
        def first = Rules.CALLS[name]?.tokenize()?.find()?.replace('!', '')
        boolean isNamed = given && given[0] instanceof Map && !(name in Rules.TAKE_A_MAP)
        Map named = isNamed ? given[0] : given ? [(first): given[0]] : [:]
        if (name == 'pipeline') {
            pipeline = body
        } else if (Rules.SYMBOLS.containsKey(name)) {
            return [symbol: name] + named
        } else {
            if (Rules.IN_WORKSPACE.containsKey(name) && !workspace) throw new Failed("$name needs an agent")
            return body ? "$name"(named, body) : "$name"(named)
        }
    }

    private void script(Map given, Closure body) { body() }

    private void timeout(Map given, Closure body) {
        deadlines << deadline(given)
        try {
            body()
        } finally {
            deadlines.pop()
        }
    }

    private void echo(Map given) { say(given.message) }

    private void error(Map given) { throw new Failed(given.message) }

    private def sh(Map given) {
        def words = ['sh', '-xe', '-c', given.script]
        def variables = environment()
        def passed = variables.keySet().collectMany { ['--env', it] }
        if (container) words = ['docker', 'exec', *passed, container, *words]
        def builder = new ProcessBuilder(['setsid', '--wait', *words]).directory(workspace).redirectErrorStream(!given.returnStdout)
        builder.environment().clear()
        builder.environment().putAll(variables)
        long began = System.nanoTime()
        def process = builder.start()
        process.outputStream.close()
        def output = new StringBuilder()
        def reader = Thread.start {
            process.inputStream.eachLine('UTF-8') { given.returnStdout ? output << it << '\n' : say(it) }
            process.errorStream.eachLine('UTF-8') { say(it) }
        }
        long left = (deadlines.min() ?: Long.MAX_VALUE) - began
        boolean isDone = process.waitFor(left, TimeUnit.NANOSECONDS)
        if (!isDone) ['kill', '-KILL', '--', "-${process.pid()}"].execute().waitFor()
        reader.join()
        record.executed << [stage: stages.join('/'), script: given.script, agent: agent, container: container != null,
                            seconds: (System.nanoTime() - began) / 1e9, credentials: withs.collectMany { it.keySet() }]
        save()
        if (!isDone) throw new Aborted("timeout in: $given.script")
        if (given.returnStatus) return process.exitValue()
        if (process.exitValue()) throw new Failed("exit code ${process.exitValue()} of: $given.script")
        given.returnStdout ? output.toString() : null
    }

    private void inside(String image, String options, Closure body) {
        def mounts = [workspace, temporary()].collect { "--volume=$it:$it".toString() }
        def command = ['docker', 'run', '--detach', '--tty', "--workdir=$workspace", *mounts, *options.tokenize(), image, 'cat']
        container = docker(command*.toString())
        try {
            body()
        } finally {
            docker(['docker', 'rm', '--force', container])
            container = null
        }
    }

    private String docker(List<String> command) {
        def builder = new ProcessBuilder(command).redirectErrorStream(true)
        builder.environment().putAll(request.environment)
        def process = builder.start()
        def said = process.inputStream.getText('UTF-8').trim()
        if (process.waitFor()) throw new Failed("${command.join(' ')}: $said")
        said
    }

    private Map checkout(Map given) {
        git('init', '--quiet')
        git('fetch', '--quiet', '--force', request.remote, '+refs/heads/*:refs/remotes/origin/*')
        git('checkout', '--quiet', '--force', '--detach', "origin/$request.branch")
        [GIT_COMMIT: git('rev-parse', 'HEAD'), GIT_URL: request.remote]
    }

    private String git(String... words) {
        def process = new ProcessBuilder('git', *words).directory(workspace).redirectErrorStream(true).start()
        def said = process.inputStream.getText('UTF-8').trim()
        if (process.waitFor()) throw new Failed("git ${words.join(' ')}: $said")
        said
    }

    private void withCredentials(Map given, Closure body) {
        List<File> files = []
        Map<String, String> variables = [:]
        given.bindings.each { binding ->
            def stored = request.credentials[binding.credentialsId as String]
            if (!stored) throw new Failed("there are no credentials $binding.credentialsId")
            if (stored.kind != binding.symbol) throw new Failed("$binding.credentialsId is a $stored.kind, no $binding.symbol")
            record.credentials << [id: binding.credentialsId as String, stage: stages.join('/')]
            if (binding.symbol == 'file') {
                def file = new File(temporary(), "secret-${files.size()}-$binding.credentialsId")
                file.setText(stored.secret, 'UTF-8')
                files << file
                variables[binding.variable] = file.path
            } else if (binding.symbol == 'string') {
                variables[binding.variable] = stored.secret
            } else {
                variables[binding.usernameVariable] = stored.username
                variables[binding.passwordVariable] = stored.secret
            }
        }
        withs << variables
        try {
            body()
        } finally {
            withs.pop()
            files*.delete()
        }
    }

    private String readFile(Map given) { existing(given.file).getText('UTF-8') }

    private Object readJSON(Map given) { new JsonSlurperClassic().parseText(existing(given.file).getText('UTF-8')) }

    private Object readYaml(Map given) {
        def script = 'import json, sys, yaml; print(json.dumps(yaml.safe_load(sys.stdin.buffer)))'
        def process = new ProcessBuilder(request.python, '-c', script).redirectInput(existing(given.file)).start()
        def said = process.inputStream.getText('UTF-8')
        if (process.waitFor()) throw new Failed("no YAML: $given.file")
        new JsonSlurperClassic().parseText(said)
    }

    private File existing(String name) {
        def file = new File(workspace, name)
        if (!file.file) throw new Failed("there is no $name")
        file
    }

    // Files that outlive the workspace

    private static List<String> matching(File base, String includes) {
        if (!base.directory) return []
        def matchers = includes.split(/[,\s]+/).collect { FileSystems.default.getPathMatcher("glob:$it") }
        def names = []
        base.eachFileRecurse { file ->
            def path = base.toPath().relativize(file.toPath())
            if (file.file && matchers.any { it.matches(path) }) names << path.toString()
        }
        names.sort()
    }

    private static void copy(File source, File target) {
        target.parentFile.mkdirs()
        target.bytes = source.bytes
    }

    private static String sha256(File file) { MessageDigest.getInstance('SHA-256').digest(file.bytes).encodeHex() }

    private void archiveArtifacts(Map given) {
        def names = matching(workspace, given.artifacts)
        if (!names && !given.allowEmptyArchive) throw new Failed("no artefact is like $given.artifacts")
        names.each { name ->
            def file = new File(workspace, name)
            copy(file, new File(folder, "archive/$name"))
            record.artifacts[name] = [sha256: sha256(file), fingerprint: given.fingerprint ?: false]
            def text = file.getText('ISO-8859-1')
            request.secrets.findAll { text.contains(it) }.each { record.leaks << "in $name" }
        }
        save()
    }

    private void copyArtifacts(Map given) {
        def wanted = (given.parameters ?: '').tokenize(',').collectEntries { it.split('=', 2) as List }
        def builds = new File(home, "jobs/$given.projectName").list()?.findAll { it.integer }*.toInteger() ?: []
        def candidates = given.selector?.symbol == 'specific' ? builds.findAll { it == given.selector.buildNumber as int }
            : builds.findAll { read(given.projectName, it).result == 'SUCCESS' }
        def number = candidates.sort().reverse().find { read(given.projectName, it).parameters.entrySet().containsAll(wanted.entrySet()) }
        def source = number ? read(given.projectName, number) : null
        def archive = new File(home, "jobs/$given.projectName/$number/archive")
        def names = source ? matching(archive, given.filter ?: '**') : []
        if (source && !(request.job in source.permission)) throw new Failed("$given.projectName lets $request.job copy nothing")
        if (!names && !given.optional) throw new Failed("nothing to copy from $given.projectName")
        names.each { name ->
            def target = [given.target, given.flatten ? new File(name).name : name].findAll().join('/')
            copy(new File(archive, name), new File(workspace, target))
            record.copied << [job: given.projectName, number: number, name: name, to: target,
                              sha256: source.artifacts[name].sha256]
        }
    }

    private void stash(Map given) {
        def names = matching(workspace, given.includes ?: '**')
        if (!names && !given.allowEmpty) throw new Failed("nothing to stash for $given.name")
        names.each { copy(new File(workspace, it), new File(folder, "stash/$given.name/$it")) }
    }

    private void unstash(Map given) {
        def stashed = new File(folder, "stash/$given.name")
        if (!stashed.directory) throw new Failed("there is no stash $given.name")
        matching(stashed, '**').each { copy(new File(stashed, it), new File(workspace, it)) }
    }

    private void cleanWs(Map given) { ['find', workspace.path, '-mindepth', '1', '-delete'].execute().waitFor() }

    // Results

    private void junit(Map given) {
        def suites = matching(workspace, given.testResults).collect { new XmlSlurper().parse(new File(workspace, it)) }
        def cases = suites.collectMany { it.'**'.findAll { node -> node.name() == 'testcase' } }
        if (!cases && !given.allowEmptyResults) throw new Failed('there are no results of tests')
        def failed = cases.findAll { it.failure.size() + it.error.size() }
        record.tests = [count: cases.size(), failed: failed.size()]
        if (failed) worsen('UNSTABLE')
    }

    private void recordCoverage(Map given) {
        given.tools.each { tool ->
            if (tool.parser != 'COBERTURA') throw new Failed("no parser $tool.parser")
            matching(workspace, tool.pattern).each {
                def slurper = new XmlSlurper(false, false, true)
                slurper.setFeature('http://apache.org/xml/features/nonvalidating/load-external-dtd', false)
                record.coverage = slurper.parse(new File(workspace, it)).'@line-rate'.text() as double
            }
            if (record.coverage == null) throw new Failed("no coverage is like $tool.pattern")
        }
    }

    private void publishHTML(Map given) {
        def report = new File(workspace, "$given.target.reportDir/$given.target.reportFiles")
        if (!report.file && !given.target.allowMissing) throw new Failed("there is no report $report")
        record.reports[given.target.reportName] = report.length()
    }

    // What leaves the build

    private void build(Map given) {
        if (given.wait != false) throw new IllegalArgumentException('build without wait: false is not mocked')
        record.started << [job: given.job, parameters: given.parameters.collectEntries { [it.name, it.value as String] }]
    }

    private void mail(Map given) { record.mails << given.collectEntries { name, value -> [name, value as String] } }

    private String input(Map given) {
        def answer = request.answers ? request.answers.remove(0) : null
        record.inputs << [message: given.message as String, agent: agent, submitter: given.submitter, locks: record.locks.size(),
                          answer: answer]
        if (!answer) throw new Aborted('nobody has answered')
        def allowed = (given.submitter ?: '').tokenize(', ')
        if (allowed && !allowed.intersect([answer.user, *answer.groups])) throw new Aborted("$answer.user may not approve")
        if (answer.abort) throw new Aborted("rejected by $answer.user")
        given.submitterParameter ? answer.user : null
    }

    // Records

    private Map read(String job, int number) {
        job == request.job && number == request.number ? record
            : new JsonSlurper().parse(new File(home, "jobs/$job/$number/build.json"), 'UTF-8')
    }

    private void save() { new File(folder, 'build.json').setText(JsonOutput.prettyPrint(JsonOutput.toJson(record)), 'UTF-8') }

    private synchronized void say(Object text) {
        String line = text
        request.secrets.findAll { line.contains(it) }.each {
            record.leaks << "in the log of ${stages.join('/')}"
            line = line.replace(it, '****')
        }
        log.append("$line\n", 'UTF-8')
    }
}

/** Runs each stage at once, so that later ones see what earlier ones have set. */
class Stages {
    final Runner runner

    Stages(Runner runner) { this.runner = runner }

    void stage(String title, Closure block) { runner.stage(title, block) }
}

def request = new JsonSlurperClassic().parse(new File(args[0]), 'UTF-8')
if (request.check) {
    println JsonOutput.toJson(request.check.collect { Rules.faults(new File(it)) })
} else {
    def file = new File(request.jenkinsfile)
    def faults = Rules.faults(file)
    if (faults) throw new IllegalArgumentException(faults.join('\n'))
    def configuration = new CompilerConfiguration(scriptBaseClass: 'Jenkinsfile')
    def shell = new GroovyShell(this.class.classLoader, new Binding(), configuration)
    // Not by the file's name, which would be the class's, and that of the class that it extends.
    new Runner(request).run(shell.parse(file.getText('UTF-8'), 'Declared.groovy'))
}
